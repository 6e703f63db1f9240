"""The light segmentation network as transformers knows it: for folders that it reads and writes.

Import this module before `AutoModelForSemanticSegmentation` is asked for `ssg_lite_segmentation`.
"""

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from .lite_segmentation import MODEL_TYPE, EfficientNetLite, LiteSegmentation, Pyramid, init_weights


class LiteSegmentationConfig(PretrainedConfig):
    """Configuration: `width` is the number of channels in the pyramid, `trunk` one of TRUNKS; classes as usual."""

    model_type = MODEL_TYPE

    def __init__(self, width: int = 96, trunk: str = "lite0", **kwargs):
        self.width, self.trunk = width, trunk
        super().__init__(**kwargs)


class LiteSegmentationForSemanticSegmentation(PreTrainedModel):
    """`LiteSegmentation` with transformers' base and the same names of weights."""

    config_class = LiteSegmentationConfig
    main_input_name = "pixel_values"

    def __init__(self, config: LiteSegmentationConfig):
        super().__init__(config)
        self.backbone = EfficientNetLite(config.trunk)
        self.decode_head = Pyramid(self.backbone.widths, config.width, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        init_weights(module)

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> SemanticSegmenterOutput:
        features = self.backbone(pixel_values)
        shown = tuple(features) if output_hidden_states else None
        return SemanticSegmenterOutput(logits=self.decode_head(features), hidden_states=shown)


def to_transformers(network: LiteSegmentation) -> LiteSegmentationForSemanticSegmentation:
    """The same network with transformers' base; the weights are shared."""
    twin = LiteSegmentationForSemanticSegmentation(LiteSegmentationConfig(**network.config.to_diff_dict()))
    twin.load_state_dict(network.state_dict(), assign=True)
    return twin.train(network.training)


AutoConfig.register(MODEL_TYPE, LiteSegmentationConfig, exist_ok=True)
AutoModelForSemanticSegmentation.register(
    LiteSegmentationConfig, LiteSegmentationForSemanticSegmentation, exist_ok=True
)
