"""An attack on banks and on the configuration of a training; see test_attack_models.py for what must hold.

SSG_ATTACKS=300 python -m pytest -m attack -s tests/test_attack_settings.py
"""

import json
import shutil
import struct

import pytest
import torch
import yaml
from attack import attack, attempt, damage, rng_seed, spoil, strange_texts, strange_values
from hypothesis import given
from hypothesis import strategies as st
from test_attack_models import spoil_tensors

from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.bank_files import CONFIG, TENSORS
from ssg_hub.degradation.kernels import kernel_size
from ssg_hub.degradation.noise import white_noise
from ssg_hub.degradation.ops import LUMA_TABLE, gaussian_kernels
from ssg_hub.errors import ConfigError, SSGError
from ssg_hub.training.config import TrainConfig, parse_config

pytestmark = [pytest.mark.attack, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("attack_figures")]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attack")
    kernels = gaussian_kernels(torch.ones(2), torch.ones(2) * 2, torch.zeros(2), kernel_size(4))
    steps = torch.tensor(LUMA_TABLE).float().expand(2, 8, 8).clone()
    noise = white_noise(0.02, 2, "assumed")
    bank = DegradationBank(4, kernels, noise, steps, steps * 2, 0.2, report={"notes": ["made"], "pictures": 2})
    bank.examples = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    bank.save(folder / "bank")
    return folder


@rng_seed
@attack
@given(data=st.data())
def test_banks(data, room):
    shutil.rmtree(room / "tried", ignore_errors=True)
    folder = shutil.copytree(room / "bank", room / "tried")
    kind = data.draw(st.integers(0, 3))
    if kind == 0:
        (folder / CONFIG).write_bytes(damage(data.draw, (folder / CONFIG).read_bytes()))
    elif kind == 1:
        content = spoil(data.draw, json.loads((folder / CONFIG).read_text()))
        (folder / CONFIG).write_text(json.dumps(content), encoding="utf-8", errors="surrogatepass")
    elif kind == 2:
        (folder / TENSORS).write_bytes(spoil_tensors(data.draw, (folder / TENSORS).read_bytes()))
    else:
        (folder / TENSORS).write_bytes(replace_values(data.draw, (folder / TENSORS).read_bytes()))
    bank = attempt("banks", ConfigError, DegradationBank.load, folder)
    if bank is not None:
        lr = bank.degrade(torch.rand(2, 3, 64, 64), bank.scale, torch.Generator().manual_seed(0))
        assert lr.shape == (2, 3, 64 // bank.scale, 64 // bank.scale) and torch.isfinite(lr).all()
        assert lr.min() >= 0 and lr.max() <= 1
        assert bank.describe()


def replace_values(draw, content: bytes) -> bytes:
    """Whole tensors filled with one value."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    name = draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    first, last = header[name]["data_offsets"]
    body[first:last] = draw(st.binary(min_size=8, max_size=8)) * ((last - first) // 8)
    return content[: 8 + length] + bytes(body)


@rng_seed
@attack
@given(data=st.data())
def test_configurations_of_trainings(data, room):
    """As YAML and on the command line: any key with any value."""
    keys = st.sampled_from(sorted(TrainConfig.model_fields))
    changes = data.draw(st.dictionaries(st.one_of(keys, keys, keys, strange_texts), strange_values, max_size=4))
    config = {"output_dir": "runs/x", "source": ["hr"], **changes}
    try:
        text = yaml.safe_dump(config)
    except yaml.YAMLError:
        return
    path = room / "config.yaml"
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(damage(data.draw, content) if data.draw(st.integers(0, 4)) == 0 else content)
    words = [word for key in data.draw(st.lists(keys, max_size=2)) for word in (f"--{key}", data.draw(strange_texts))]
    attempt("configurations", SSGError, parse_config, ["--config", str(path), *words], lines=12)
