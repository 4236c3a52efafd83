"""The weights that ship: each is named, loads, and keeps within its budget."""

import json

import pytest

from nnvvc.models import adapter, filters, registry, restoration


@pytest.mark.parametrize("number", sorted(registry.FILES))
def test_every_model_is_there_with_its_card(number: int) -> None:
    path = registry.weights_of(registry.reference(number))
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["purpose"] and card["config"]
    assert card.get("training") or card["stages"]


def test_adapters_take_at_most_ten_thousand_products_a_sample() -> None:
    people = adapter.load_adapter(registry.weights_of(registry.reference(registry.ADAPTER_PEOPLE)))
    assert adapter.kmac_per_pixel(people.network.config) <= 10
    video = filters.load_filter(registry.weights_of(registry.reference(registry.FILTER_VIDEO)))
    assert video.config.video
    assert all(filters.kmac_per_pixel(video.config, up) <= 10 for up in video.config.ups)


def test_the_filter_for_people_takes_at_most_six() -> None:
    model = restoration.load_restoration(registry.weights_of(registry.reference(registry.FILTER_PEOPLE)))
    assert restoration.kmac_per_pixel(model.config) <= 6
