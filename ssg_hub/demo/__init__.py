"""The parts of the Gradio demo: texts, settings, the job behind the button, and the views of its result."""
