// Functions with a backward pass of their own, and gradients: torch::autograd::Function, Node, grad(), backward().
#pragma once
#include "base/torch.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
