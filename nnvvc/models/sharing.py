"""Networks that share with others what they have in common: copying takes longer than filtering a small
picture does.
"""

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def shared(network: Network) -> Network:
    """The network again, with parameters, buffers and parts that are the same ones, but can be exchanged."""
    result = copy.copy(network)
    for table in ("_parameters", "_buffers", "_modules"):
        result.__dict__[table] = dict(network.__dict__[table])
    return result


def replaced(network: Network, parameters: Mapping[str, Tensor], prefix: str = "") -> Network:
    """The network with some other parameters, for inference, by their names after `prefix`."""
    result = shared(network)
    for name in network._parameters:
        if (found := parameters.get(prefix + name)) is not None:
            setattr(result, name, nn.Parameter(found, requires_grad=False))
    for name, part in network.named_children():
        setattr(result, name, replaced(part, parameters, f"{prefix}{name}."))
    return result
