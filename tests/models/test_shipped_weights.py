"""The weights that ship: each is named, loads, and keeps within its budget."""

import json

import pytest

from nnvvc.models import adapter, filters, people, registry


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


@pytest.mark.parametrize(("number", "most"), [(registry.FILTER_PEOPLE, 6), (registry.FILTER_QUICK, 1.1)])
def test_filters_for_people_take_at_most_that(number: int, most: float) -> None:
    model = people.load_people(registry.weights_of(registry.reference(number)))
    assert people.card_of(model)["kmac_per_pixel"] <= most
