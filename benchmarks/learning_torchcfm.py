"""The peers of `learning.py`: the same trainings by torchcfm and flow_matching, where they are.

`python benchmarks/learning_torchcfm.py FILE` trains on the arrays of FILE.npz, one a data set and
seed, and leaves points and steps a second of each in FILE.out.npz.
"""

import sys
import time

import numpy as np
import torch
from flow_matching.path import CondOTProbPath
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
from torchcfm.models.models import MLP


def torchcfm():
    matcher = ConditionalFlowMatcher(sigma=0.0)
    return matcher.sample_location_and_conditional_flow


def flow_matching():
    path = CondOTProbPath()

    def draw(x0, x1):
        sample = path.sample(t=torch.rand(len(x1)), x_0=x0, x_1=x1)
        return sample.t, sample.x_t, sample.dx_t

    return draw


def train(peer, data, steps, batch, rate, seed):
    torch.manual_seed(seed)
    data = torch.as_tensor(data)
    draw, network = peer(), MLP(dim=2, time_varying=True, w=64)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        x1 = data[torch.randint(len(data), (batch,))]
        t, point, velocity = draw(torch.randn_like(x1), x1)
        found = network(torch.cat([point, t[:, None]], dim=-1))
        loss = torch.mean((found - velocity) ** 2)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network


@torch.no_grad()
def sample(network, start, steps):
    """By the steps of Heun."""
    x, h = torch.as_tensor(start), 1 / steps
    field = lambda t, x: network(torch.cat([x, torch.full((len(x), 1), t)], dim=-1))  # noqa: E731
    for k in range(steps):
        slope = field(k * h, x)
        x = x + h / 2 * (slope + field((k + 1) * h, x + h * slope))
    return x.numpy()


def main(path):
    torch.set_num_threads(1)
    given, found = np.load(path + ".npz"), {}
    steps, batch, rate = int(given["steps"]), int(given["batch"]), float(given["rate"])
    first = given["start-0"]
    for peer in (torchcfm, flow_matching):
        train(peer, first, 200, batch, rate, 0)
        begin = time.process_time()
        train(peer, first, 1000, batch, rate, 0)
        found[f"{peer.__name__}-speed"] = 1000 / (time.process_time() - begin)
        for name in given:
            if name.startswith("train"):
                seed = int(name.split("-")[-1])
                network = train(peer, given[name], steps, batch, rate, seed)
                found[f"{peer.__name__}-{name}"] = sample(network, given[f"start-{seed}"], 50)
    np.savez(path + ".out.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1])
