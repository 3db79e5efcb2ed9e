import json
import math

import pytest

from nnunet_prosma.gate import GateConfig


def test_settings_survive_the_way_through_a_plans_file():
    config = GateConfig(dilations=(1, 3), lam=0.1, removal="hard", channel=False)
    assert GateConfig.of(json.loads(json.dumps(config.to_dict()))) == config


def test_settings_not_named_keep_their_defaults():
    assert GateConfig.of({"lam": 0.2}) == GateConfig(lam=0.2)
    assert GateConfig.of(None) == GateConfig()


def test_they_are_frozen():
    with pytest.raises(AttributeError, match="cannot assign"):
        GateConfig().lam = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lamda": 1}, "unknown gate setting 'lamda'; known are kind, .*lam"),
        ({"lam": 0}, "lam must be a finite number above 0, got 0"),
        ({"lam": -1.0}, "lam must be a finite number above 0, got -1.0"),
        ({"lam": math.nan}, "lam must be a finite number above 0, got nan"),
        ({"lam": "small"}, "lam must be a finite number above 0, got 'small'"),
        ({"dilations": []}, r"dilations must name at least one whole number of at least 1, got \[\]"),
        ({"dilations": [0]}, r"dilations must name at least one whole number of at least 1, got \[0\]"),
        ({"dilations": 2}, "dilations must be a list of whole numbers, got 2"),
        ({"kernel_size": 2}, "kernel_size must be odd, so that the size is kept, got 2"),
        ({"latent_reduction": 0}, "latent_reduction must be a whole number of at least 1, got 0"),
        ({"min_channels": 2.5}, "min_channels must be a whole number of at least 1, got 2.5"),
        ({"kind": "dense"}, "kind must be one of prosma, attention, none, got 'dense'"),
        ({"norm": "batch"}, "norm must be one of none, instance, got 'batch'"),
        ({"removal": "firm"}, "removal must be one of soft, hard, got 'firm'"),
        ({"spatial": 1}, "spatial must be true or false, got 1"),
        ({"spatial": False, "channel": False}, "leaves nothing to gate"),
        ({"spatial": False, "removal": "hard"}, "needs spatial=true"),
        ({"kind": "attention", "lam": 0.1, "channel": False}, "has no channel, lam;"),
        ({"kind": "none", "lam": 0.1}, r'plain skip \(kind="none"\) has no lam;'),
        ({"kind": "attention", "residual": True}, "has no residual;"),
        ({"removal": "hard", "residual": True}, "contradict each other"),
        ({"residual": 1}, "residual must be true or false, got 1"),
        ({"start": "closed"}, "start must be one of half, open, got 'closed'"),
        ({"stages": 0}, 'stages must be "all" or a whole number of at least 1, got 0'),
        ({"stages": "2"}, "stages must be \"all\" or a whole number of at least 1, got '2'"),
        ("hard", "must be a GateConfig or a dict of its fields, got 'hard'"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_an_error_of_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        GateConfig.of(settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("skip_channels", "latent", "hidden"), [(320, 160, 80), (32, 16, 8), (12, 8, 8), (4, 8, 8)])
def test_the_latent_sizes_are_fractions_with_a_floor(skip_channels, latent, hidden):
    assert GateConfig().latent_channels(skip_channels) == latent
    assert GateConfig().hidden_channels(skip_channels) == hidden
