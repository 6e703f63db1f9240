"""Training data: tables and streams of pictures, and the aligned crops cut from them."""
