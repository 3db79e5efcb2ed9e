"""What of plans makes the data what they are."""

from nnunet_prosma.host.preprocessing import data_settings

PLANS = {
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "3d_fullres": {"spacing": [1, 1, 1], "resampling_fn_data": "resample", "batch_size": 2, "data_identifier": "a"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "mine": {"inherits_from": "3d_cascade_fullres", "spacing": [2, 2, 2]},
    },
}


def test_a_configuration_has_the_data_of_the_one_that_it_inherits_from_unless_it_says_otherwise():
    whole = data_settings(PLANS, "3d_fullres")
    assert (whole["spacing"], whole["resampling_fn_data"], whole["transpose_forward"]) == (
        [1, 1, 1],
        "resample",
        [0, 1, 2],
    )
    assert data_settings(PLANS, "3d_cascade_fullres") == whole
    assert data_settings(PLANS, "mine") == {**whole, "spacing": [2, 2, 2]}
