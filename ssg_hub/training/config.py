"""The training configuration: one flat, typed YAML file with `--key value` overrides, checked before the first step."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from ..errors import ConfigError
from ..networks.registry import check_options
from ..storage import expand_home
from ..storage.card import check_license
from ..storage.hub import check_id

Scale = Literal[1, 2, 4]
SENTENCES = {"license_note", "training_data"}  # keys whose texts may have several lines


class TrainConfig(BaseModel):
    """Every key that a training YAML may hold. Data entries are relative to `data_root`.

    A data entry is a folder that holds `images/` (and, for labels, `labels/`), a folder with `metadata.csv`, a plain
    folder of pictures, or a Hub dataset id; `FOLDER#LIST.txt` takes only the pictures whose stems are in the list.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    output_dir: Path = Field(description="checkpoints, logs and the finished model go here")
    data_root: Path = Field(default=Path(), description="folder against which data entries are resolved")
    seed: int = Field(default=0, description="of the weights that are new, of crops and of degradations")

    # --- networks
    scale: Scale = Field(default=4, description="HR pixels per LR pixel, per side: 1, 2 or 4")
    generator_type: str = Field(default="rrdb", description="rrdb, compact, span: see ssg_hub/networks")
    generator_config: dict[str, Any] = Field(default_factory=dict, description="features, blocks, growth, convs")
    generator_weights: str | None = Field(
        default=None, description="warm start, its architecture included: file, folder, Hub id, embedded, large"
    )
    guide_model: str | None = Field(
        default=None, description="a guide, or a model with one: folder, Hub id, embedded, large"
    )
    guide_trunk: Literal["lite0", "lite2"] = Field(default="lite0", description="EfficientNet-Lite of a new guide")
    guide_backbone: Path | None = Field(default=None, description="ImageNet weights of that trunk")
    guide_width: int = Field(default=96, gt=0, description="channels in the pyramid of a new guide")
    class_names: list[str] = Field(default_factory=list, description="names of label ids 0, 1, 2, …")
    class_palette: list[tuple[int, int, int]] | None = Field(
        default=None, description="an RGB colour, 0 to 255, for each class of a new guide; else made up"
    )
    void_id: int = Field(default=255, ge=0, le=255, description="label id that no loss and no metric counts")

    # --- data
    source: list[str] = Field(min_length=1, description="clean HR pictures")
    source_lr: str | None = Field(default=None, description="folder of their true LR, STEM.png; else degradation")
    unjudged: Path | None = Field(
        default=None, description="list of the names of such pairs that have no adversarial term; below data_root"
    )
    degradation: str = Field(default="generic", description="bicubic, generic, a bank; or some joined by +")
    keep_grain: float = Field(default=0.0, ge=0, le=1, description="share of the noise of LR that SR is to keep")
    hr_crop: int = Field(default=192, ge=16, description="side of source HR crops, pixels")
    grid_shift: int = Field(
        default=0, ge=0, multiple_of=8, description="SR and HR lose this many pixels a side, cut off at random places"
    )
    flat_share: float = Field(default=0.0, ge=0, le=1, description="share of source crops that are one flat colour")
    guide_data: list[str] = Field(default_factory=list, description="HR pictures with labels, for the guide stage")
    guide_crop: int = Field(default=320, ge=32, description="side of the guide stage's crops, pixels")
    target: list[str] = Field(default_factory=list, description="real LR pictures, without HR")
    target_labels: str | None = Field(default=None, description="folder of their label maps; else pseudo-labels")
    target_crop: int = Field(default=192, ge=64, description="side of SR crops that the guide sees, pixels")
    dev_lr: list[str] = Field(default_factory=list, description="LR pictures for validation, one entry per camera")
    dev_hr: str | None = Field(default=None, description="their HR; checkpoints are ranked by LPIPS on this set")
    dev_labeled: str | None = Field(default=None, description="HR pictures with labels, to score the guide")
    streaming: bool = Field(default=False, description="source is shards (Parquet, WebDataset) read as they come")
    workers: int = Field(default=1, ge=0, description="data worker processes")

    # --- stages, in this order; 0 steps skips one
    guide_steps: int = Field(default=0, ge=0, description="training of the guide, on guide_data")
    guide_batch: int = Field(default=8, gt=0, description="pictures of guide_data per process and step")
    guide_lr: float = Field(default=5e-4, gt=0, description="peak learning rate of guide and teacher")
    guide_jitter: float = Field(default=0.3, ge=0, lt=1, description="range of colour changes in the guide stage")
    guide_recolor: float = Field(default=0.0, ge=0, le=1, description="share of crops with one class in another colour")
    guide_skies: float = Field(default=0.0, ge=0, le=1, description="share of crops with another sky")
    guide_paste: float = Field(default=0.0, ge=0, le=1, description="share of crops with objects of another picture")
    guide_balance: float = Field(
        default=1.0, ge=0, le=1, description="exponent of the weights by which rare classes count more; 0: all alike"
    )
    guide_lovasz: float = Field(default=0.0, ge=0, description="weight of the Lovász loss beside the cross-entropy")
    guide_degraded: float = Field(default=0.0, ge=0, le=1, description="share of degraded pictures")
    teacher_steps: int = Field(default=0, ge=0, description="fine-tuning of the guide into a pseudo-label teacher")
    warmup_steps: int = Field(default=0, ge=0, description="the generator alone, by L1, on source")
    adversarial_steps: int = Field(default=0, ge=0, description="the whole objective, on source and target")
    batch: int = Field(default=8, gt=0, description="source pictures per process and step")
    target_batch: int = Field(default=4, gt=0, description="target pictures per process and step")
    lr: float = Field(default=1e-4, gt=0, description="peak learning rate of the generator")
    ema_decay: float = Field(
        default=0.999, gt=0, lt=1, description="of the average of the generator, or of the guide, which is the result"
    )

    # --- the objective; each switch of the ablation is one of these
    warmup_perceptual_weight: float = Field(default=0.0, ge=0, description="VGG16 features in the warm-up; 0: plain L1")
    l1_weight: float = Field(default=1.0, ge=0, description="L1 between SR and HR")
    perceptual_weight: float = Field(default=1.0, ge=0, description="VGG16 features, relative L1")
    lpips_weight: float = Field(default=0.0, ge=0, description="LPIPS of VGG16")
    dists_weight: float = Field(default=0.0, ge=0, description="DISTS")
    ldl_weight: float = Field(default=0.0, ge=0, description="L1 on what looks like artifacts; 1 in its paper")
    mesh_weight: float = Field(default=0.0, ge=0, description="detail that lies on the generator's grid, beyond HR's")
    guide_feature_weight: float = Field(default=0.0, ge=0, description="distance of the guide's features of SR and HR")
    sharpen: float = Field(
        default=0.0, ge=0, description="unsharp mask on the HR that SR is compared with; 0.5 is usual"
    )
    adversarial_weight: float = Field(default=0.1, ge=0, description="-log D(SR); 0 leaves the discriminator out")
    discriminator: Literal["unet", "patch", "features", "semantic"] = Field(
        default="unet", description="unet or patch read pixels, features VGG16's activations, semantic the guide's too"
    )
    discriminator_features: int = Field(default=32, gt=0, description="channels of its first layer, or of a head")
    discriminator_weights: Path | None = Field(
        default=None, description="of an earlier run, its discriminator.safetensors; else a new one"
    )
    discriminator_lr: float = Field(default=1e-4, gt=0, description="its peak learning rate")
    discriminator_warmup_steps: int = Field(
        default=0, ge=0, description="first steps of the stage, in which the discriminator alone is trained"
    )
    guide_weight: float | Literal["balanced"] = Field(default="balanced", description="a number, or balanced; 0: none")
    guide_share: float = Field(default=0.5, gt=0, description="balanced: gradient norm relative to the other losses'")
    guide: Literal["frozen", "joint"] = Field(default="frozen", description="joint trains the guide on HR and SR along")
    consistency_weight: float = Field(default=1.0, ge=0, description="low-pass consistency of target SR with its LR")
    pseudo_threshold: float = Field(default=0.9, gt=0, le=1, description="confidence from which a pseudo-label counts")
    perceptual_weights: Path | None = Field(default=None, description="VGG16 features (safetensors); else the Hub's")

    # --- running
    max_minutes: float | None = Field(default=None, gt=0, description="ends the run by the clock, with its model")
    anneal: Literal["steps", "clock"] = Field(
        default="steps", description="what the learning rates fall along: a stage's steps, or its max_minutes"
    )
    on_interrupt: Literal["stop", "finish"] = Field(
        default="stop", description="Ctrl-C or SIGTERM: stop with a checkpoint, or finish with the model as it is then"
    )
    gradient_accumulation: int = Field(default=1, gt=0, description="batches that are added up for one step")
    max_grad_norm: float = Field(default=1.0, gt=0, allow_inf_nan=True, description="of each network; .inf: any")
    max_skipped_updates: int = Field(
        default=50, ge=0, description="updates with non-finite gradients before it stops; in fp16 those in a row"
    )
    mixed_precision: Annotated[Literal["no", "fp16", "bf16"], BeforeValidator(lambda value: value or "no")] = Field(
        default="no", description="bf16 also helps CPUs that have it"
    )
    generator_precision: Literal["fp32", "mixed"] = Field(
        default="fp32", description="fp32 keeps the generator out of bf16 and fp16: its gradient suffers most"
    )
    channels_last: bool = Field(default=True, description="memory format of the networks; faster on most devices")
    compile: bool = Field(default=False, description="torch.compile for generator and discriminator")
    checkpoint_every: int = Field(default=500, gt=0, description="steps")
    checkpoints_kept: int = Field(default=2, gt=0, description="newest of each stage, beside the best")
    validate_every: int = Field(default=500, gt=0, description="steps")
    gradients_every: int = Field(
        default=0, ge=0, multiple_of=10, description="steps between records of each loss's gradient norm; 0: none"
    )
    lpips_features: Path | None = Field(default=None, description="AlexNet features (safetensors) for LPIPS")
    lpips_heads: Path | None = Field(default=None, description="LPIPS heads; else the package's")
    dists_heads: Path | None = Field(default=None, description="DISTS' alpha and beta; else the package's")
    resume: str | None = Field(default=None, description='"latest", or the folder of a checkpoint')
    tracker: Literal["tensorboard", "trackio", "wandb", "none"] = Field(
        default="tensorboard", description="where losses and scores are logged"
    )

    # --- the finished model
    save_dtype: Literal["fp32", "fp16"] = Field(default="fp16", description="precision of the saved weights")
    push_to_hub: str | None = Field(default=None, description="repository id; private if it is new")
    license: str = Field(default="other", description="Hub identifier of the weights' licence, for the model card")
    license_note: str = Field(default="", description="what the card says about it; else as generator_weights")
    training_data: str = Field(default="", description="a sentence for the card; else as generator_weights")

    @property
    def guided(self) -> bool:
        """Whether a guide reads the SR of real LR pictures."""
        return bool(self.target) and self.guide_weight != 0

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """Paths as the user's shell would hand them on; a name of the Hub begins with no `~`."""
        if isinstance(value, list):
            return [cls._expand_home(entry) for entry in value]
        return type(value)(expand_home(str(value))) if isinstance(value, (str, Path)) else value

    @field_validator("*")
    @classmethod
    def _on_one_line(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what YAML makes of a Windows path in double quotes, where a backslash begins an escape."""
        texts = value if isinstance(value, list) else [value]
        lines = [str(text) for text in texts if isinstance(text, (str, Path))]
        if info.field_name not in SENTENCES and any(ord(sign) < 32 for line in lines for sign in line):
            raise ValueError("a backslash in double quotes begins an escape; write paths with / or in single quotes")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        check_options(self.generator_type, {"scale": self.scale, **self.generator_config})
        if (stated := self.generator_config.get("scale", self.scale)) != self.scale:
            raise ValueError(f"generator_config has scale {stated}, but scale is {self.scale}; leave it out there")
        check_license(self.license)
        if self.push_to_hub is not None:
            check_id(self.push_to_hub)
        self._check_crops()
        if self.guide_steps and not (self.guide_data and (self.class_names or self.guide_model)):
            raise ValueError("the guide stage (guide_steps > 0) needs guide_data, and class_names or guide_model")
        has_guide = bool(self.guide_steps or self.guide_model)
        if self.guided and self.adversarial_steps and not has_guide:
            raise ValueError("target pictures need a guide: set guide_steps or guide_model, or guide_weight to 0")
        if (self.guide_feature_weight or self.discriminator == "semantic") and not has_guide:
            raise ValueError("guide_feature_weight and discriminator: semantic need guide_steps or guide_model")
        if (self.teacher_steps or self.guide == "joint") and not self.guide_data:
            raise ValueError("teacher_steps and guide: joint need guide_data, HR pictures with labels")
        if self.teacher_steps and not has_guide:
            raise ValueError("teacher_steps fine-tunes a copy of the guide: set guide_steps or guide_model")
        if bool(self.dev_lr) != bool(self.dev_hr):
            raise ValueError("dev_lr and dev_hr belong together, LR pictures and their HR: set both or neither")
        if self.discriminator_warmup_steps and not self.adversarial_weight:
            raise ValueError("discriminator_warmup_steps trains a discriminator, which adversarial_weight 0 leaves out")
        if 0 < self.adversarial_steps <= self.discriminator_warmup_steps:
            raise ValueError("discriminator_warmup_steps leaves no step of adversarial_steps for the generator")
        if self.adversarial_steps:
            self._check_objective()
        if self.anneal == "clock" and self.max_minutes is None:
            raise ValueError("anneal: clock needs max_minutes, the time along which the learning rates fall")
        if self.source_lr and self.keep_grain:
            raise ValueError("keep_grain keeps the noise that a degradation adds; true pairs (source_lr) have none")
        if self.unjudged and not self.source_lr:
            raise ValueError("unjudged names pairs by their stems; set source_lr, too, or leave it out")
        if self.source_lr and self.streaming:
            raise ValueError("source_lr pairs files by their names; it does not go with streaming")
        return self

    def _check_crops(self) -> None:
        """Every crop must have a size that can be reduced, and that the networks of its stage take."""
        reduced = {"hr_crop": self.hr_crop, "target_crop": self.target_crop}
        if self.teacher_steps or (self.guide_steps and self.guide_degraded):
            reduced["guide_crop"] = self.guide_crop
        for name, side in reduced.items():
            if side % self.scale:
                raise ValueError(f"{name} {side} does not divide by scale {self.scale}")
        if self.hr_crop - self.grid_shift < 16:
            raise ValueError(f"grid_shift {self.grid_shift} leaves less than 16 pixels of hr_crop {self.hr_crop}")
        judged = self.adversarial_steps and self.adversarial_weight and self.discriminator in ("unet", "features")
        if judged and self.hr_crop % 8:
            raise ValueError(
                f"hr_crop {self.hr_crop} does not divide by 8, as discriminator: {self.discriminator} needs it"
            )
        if (self.guide_steps or self.teacher_steps) and self.guide_crop == 32 and self.guide_batch == 1:
            raise ValueError(
                "guide_crop 32 leaves a guide's batch norms one value a channel with guide_batch 1; set one of them "
                "higher"
            )

    def _check_objective(self) -> None:
        """The generator must have something to learn from, and a balanced guide something to be balanced with."""
        names = ("l1", "perceptual", "lpips", "dists", "ldl", "mesh", "guide_feature", "adversarial")
        on_source = any(getattr(self, f"{name}_weight") for name in names)
        if not on_source and not self.guided and not (self.target and self.consistency_weight):
            raise ValueError("every weight of the objective is 0; the generator would learn nothing")
        if not on_source and self.guided and self.guide_weight == "balanced":
            raise ValueError(
                "guide_weight: balanced weighs against the losses on source, which are all 0; set a number"
            )


def parse_config(arguments: list[str]) -> TrainConfig:
    """Read `--config FILE.yaml [--key value …]`; overrides are YAML, so `--source '[a, b]'` works.

    Raises:
        ConfigError: no or unreadable file, an unknown key (with the nearest spelling), or an impossible value.
    """
    options = _pair_up(arguments)
    if "config" not in options:
        raise ConfigError("no configuration: give --config FILE.yaml (see the folder configs/).")
    values = _read_yaml(Path(expand_home(options.pop("config"))))
    values |= {key: _parse_yaml(text, f"--{key} {text!r:.60}") for key, text in options.items()}
    if odd := [key for key in values if not isinstance(key, str)]:
        raise ConfigError(f"{odd[0]!r:.60} is no key of a configuration; `ssg train --help` lists them.")
    try:
        return TrainConfig(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(detail) for detail in error.errors())) from None


def _pair_up(arguments: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        key = rest.pop(0)
        if not key.startswith("--"):
            raise ConfigError(f"expected --key value, got {key!r}.")
        key, equals, value = key[2:].partition("=")
        if not equals:
            if not rest:
                raise ConfigError(f"--{key} has no value.")
            value = rest.pop(0)
        options[key.replace("-", "_")] = value
    return options


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise ConfigError(f"no configuration file at {path}.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). Give a YAML file in UTF-8.") from None
    values = _parse_yaml(text, str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; it must hold `key: value` lines.")
    return values


class _OnceEach(yaml.SafeLoader):
    """YAML whose keys may stand once: of two the last would count, and nobody would say so."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if (first := lines.setdefault(key.value, line)) != line:
                raise yaml.YAMLError(f"the key {key.value!r:.80} stands in line {first} and in line {line}")
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _OnceEach)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # values such as a date in month 13, too
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name} is not valid YAML: {detail}. Correct it.") from None


def _explain(detail: ErrorDetails) -> str:
    """One of pydantic's findings as a sentence."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, TrainConfig.model_fields, 1)
        hint = f"did you mean {close[0]!r}?" if close else "`ssg train --help` lists them."
        return f"unknown key {key!r:.80}; {hint}"
    if detail["type"] == "missing":
        return f"the key {key!r} is missing: {TrainConfig.model_fields[key].description}."
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {message}; it got {detail['input']!r:.200}." if key else f"{message}."
