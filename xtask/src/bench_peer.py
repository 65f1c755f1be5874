"""One SVD training step of diffusers, timed: the network, EDM's v-prediction loss, torch's fused AdamW, an EMA; batch 1, f32, or
bf16 where autocast has it on a GPU.

Arguments: size, threads, timed steps, steps before them, device (cpu or cuda). Prints one JSON line like `anneal bench step`.
Needs `pip install torch==2.11.0 diffusers`.
"""

import json
import resource
import statistics
import sys
import time

import torch
from diffusers import UNetSpatioTemporalConditionModel

# Channels of the levels, frames, side of the latents, width of the context.
SIZES = {
    "tiny": ((64, 128, 256, 256), 8, 16, 256),
    "small": ((128, 256, 512, 512), 8, 16, 512),
    "svd": ((320, 640, 1280, 1280), 14, 40, 1024),
}

size, threads, steps, warmup, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
cuda = device == "cuda"
torch.set_num_threads(threads)
torch.manual_seed(0)
torch.set_default_device(device)
channels, frames, side, context = SIZES[size]
network = UNetSpatioTemporalConditionModel(
    sample_size=side,
    in_channels=8,
    out_channels=4,
    block_out_channels=channels,
    num_frames=frames,
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=768,
    layers_per_block=2,
    cross_attention_dim=context,
    transformer_layers_per_block=1,
    num_attention_heads=tuple(c // 64 for c in channels),
).train()
params = list(network.parameters())
optimizer = torch.optim.AdamW(params, lr=1e-5, fused=True)
averages = [p.detach().clone() for p in params]


def step():
    clean, cond = torch.randn(2, 1, frames, 4, side, side)
    ids = torch.tensor([[6.0, 127.0, 0.02]])
    sigma = torch.exp(0.7 + 1.6 * torch.randn(1))
    noised = clean + sigma * torch.randn_like(clean)
    c_skip, c_out, c_in = 1 / (sigma**2 + 1), -sigma / (sigma**2 + 1).sqrt(), 1 / (sigma**2 + 1).sqrt()
    inputs = torch.cat([c_in * noised, cond], 2)
    with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
        output = network(inputs, 0.25 * sigma.log(), torch.randn(1, 1, context), added_time_ids=ids).sample
    denoised = c_skip * noised + c_out * output.float()
    loss = ((1 + sigma**2) / sigma**2 * (denoised - clean) ** 2).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(averages, params, 1e-4)
    if cuda:
        torch.cuda.synchronize()


times = []
for i in range(warmup + steps):
    start = time.perf_counter()
    step()
    if i >= warmup:
        times.append(time.perf_counter() - start)
print(
    json.dumps(
        {
            "engine": "diffusers",
            "size": size,
            "params": sum(p.numel() for p in params),
            "threads": threads,
            "median_s": statistics.median(times),
            "min_s": min(times),
            "max_s": max(times),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "peak_gpu_mib": torch.cuda.max_memory_allocated() // 2**20 if cuda else None,
        }
    )
)
