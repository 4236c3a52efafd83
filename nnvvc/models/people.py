"""The filters for people: `restoration`, which gains most, and `key_blend`, which is several times faster."""

from pathlib import Path
from typing import Any

from nnvvc.models import key_blend, restoration
from nnvvc.models.key_blend import NETWORK, KeyBlend, KeyBlendConfig
from nnvvc.models.quantised import fastest
from nnvvc.models.restoration import RestorationConfig, RestorationFilter
from nnvvc.models.saved import Card, config_of, load_weights, save_weights
from nnvvc.models.settled_blend import SettledBlend

PeopleNetwork = RestorationFilter | KeyBlend

Settled = RestorationFilter | SettledBlend
"""What filters one picture at a time, with weights that stay what they are."""


def people_network(card: dict[str, Any]) -> PeopleNetwork:
    """What a card, or a recipe, describes: `config`, and `network` where it is no `RestorationFilter`. Raises
    TypeError.
    """
    if card.get("network") == NETWORK:
        return KeyBlend(config_of(KeyBlendConfig, card["config"]))
    return RestorationFilter(config_of(RestorationConfig, card["config"]))


def card_of(model: PeopleNetwork) -> Card:
    """What a model card says of the network."""
    if isinstance(model, KeyBlend):
        return key_blend.card_of(model.config)
    return restoration.card_of(model.config)


def save_people(model: PeopleNetwork, path: Path, facts: Card) -> None:
    """Write float16 weights to `path` (.safetensors), and beside them the model card."""
    save_weights(model, path, card_of(model) | facts)


def load_people(path: Path) -> PeopleNetwork:
    """The filter that `save_people` wrote, in float32, for inference. Raises UnknownModel."""
    return load_weights(path, people_network)


def settled(model: PeopleNetwork) -> Settled:
    """The filter in the form that is fastest here."""
    found = fastest(model, model.precise)
    return SettledBlend(found) if isinstance(found, KeyBlend) else found
