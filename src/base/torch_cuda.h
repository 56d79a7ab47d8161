// Which CUDA devices libtorch sees: torch::cuda::is_available(), device_count(), synchronize().
#pragma once
#include "base/torch.h"

#include <torch/cuda.h>
