"""A light semantic segmentation network, registered with transformers so that every guide has the same type.

EfficientNet-Lite0 (ReLU6, no squeeze-and-excitation: exact in fp16 and quick on a CPU) with a small feature pyramid:
4 M parameters. Import this module before `AutoModelForSemanticSegmentation` is asked for `ssg_lite_segmentation`.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

# EfficientNet-Lite0 (Tan & Le 2019 without swish and SE): expansion, kernel, stride, channels, repeats
STAGES = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4)]
STAGES += [(6, 3, 1, 320, 1)]
TAPS = {2: 24, 4: 40, 10: 112, 15: 320}  # index of a block whose output feeds the pyramid -> its channels
BN_OPTIONS = {"eps": 1e-3, "momentum": 0.01}


class LiteSegmentationConfig(PretrainedConfig):
    """Configuration: `width` is the number of channels in the pyramid; classes come from `id2label` as usual."""

    model_type = "ssg_lite_segmentation"

    def __init__(self, width: int = 96, **kwargs):
        self.width = width
        super().__init__(**kwargs)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; the names are those of the published weights."""

    def __init__(self, expansion: int, kernel: int, stride: int, c_in: int, c_out: int):
        super().__init__()
        hidden = c_in * expansion
        self.expands, self.residual = expansion > 1, stride == 1 and c_in == c_out
        if self.expands:
            self._expand_conv = nn.Conv2d(c_in, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, **BN_OPTIONS)
        self._depthwise_conv = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, **BN_OPTIONS)
        self._project_conv = nn.Conv2d(hidden, c_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(c_out, **BN_OPTIONS)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The convolutional trunk; returns the features at strides 4, 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, **BN_OPTIONS)
        blocks, c_in = [], 32
        for expansion, kernel, stride, c_out, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(expansion, kernel, stride if repeat == 0 else 1, c_in, c_out))
                c_in = c_out
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in TAPS:
                features.append(x)
        return features


class Pyramid(nn.Module):
    """Top-down feature pyramid with global context; sums everything at stride 4."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in TAPS.values())
        self.context = nn.Conv2d(320, width, 1)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for _ in TAPS
        )
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.context(features[-1].mean((-2, -1), keepdim=True))
        for feature, lateral, smooth in reversed(list(zip(features, self.laterals, self.smooth, strict=True))):
            x = smooth(lateral(feature) + _resize_to(x, feature))
        return self.classify(self.dropout(x))


class LiteSegmentationForSemanticSegmentation(PreTrainedModel):
    """Normalised pictures `pixel_values` (B, 3, H, W) to logits (B, K, H/4, W/4)."""

    config_class = LiteSegmentationConfig
    main_input_name = "pixel_values"

    def __init__(self, config: LiteSegmentationConfig):
        super().__init__(config)
        self.backbone = EfficientNetLite0()
        self.decode_head = Pyramid(config.width, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, pixel_values: Tensor) -> SemanticSegmenterOutput:
        return SemanticSegmenterOutput(logits=self.decode_head(self.backbone(pixel_values)))

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Start the trunk from ImageNet weights in the published names; the classifier among them is left out."""
        wanted = self.backbone.state_dict()
        self.backbone.load_state_dict({name: state[name] for name in wanted})


def _resize_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


AutoConfig.register(LiteSegmentationConfig.model_type, LiteSegmentationConfig, exist_ok=True)
AutoModelForSemanticSegmentation.register(
    LiteSegmentationConfig, LiteSegmentationForSemanticSegmentation, exist_ok=True
)
