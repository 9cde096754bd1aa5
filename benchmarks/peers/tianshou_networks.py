"""Networks of Tianshou for vectors, which a benchmark times and tests compare weight by weight."""

import warnings

from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tianshou.utils.net.common import MLP, Net
    from tianshou.utils.net.continuous import VAE, ContinuousCritic, Perturbation


def critic(inputs, elements, hidden):
    """Return one critic."""
    return ContinuousCritic(
        preprocess_net=Net(state_shape=inputs, action_shape=elements, hidden_sizes=hidden, concat=True)
    )


def perturbation(inputs, elements, hidden):
    """Return BCQ's actor, which changes an action."""
    body = MLP(input_dim=inputs + elements, output_dim=elements, hidden_sizes=hidden)
    return Perturbation(preprocess_net=WithState(body), max_action=1.0, phi=0.05)


class WithState(nn.Module):
    """A network with the signature that a perturbation asks for."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, inputs):
        """Return outputs and no state."""
        return self.body(inputs), None


def autoencoder(inputs, elements, hidden):
    """Return BCQ's model of the actions."""
    latent = 2 * elements
    return VAE(
        encoder=MLP(input_dim=inputs + elements, hidden_sizes=hidden),
        decoder=MLP(input_dim=inputs + latent, output_dim=elements, hidden_sizes=hidden),
        hidden_dim=hidden[-1],
        latent_dim=latent,
        max_action=1.0,
    )
