// libtorch's own layers and optimisers. Not for the product, which has its own: for the judge of the demo model (tools/demo), whose numbers
// must not come from what it judges.
#pragma once
#include "base/torch.h"

#include <torch/nn.h>
#include <torch/optim.h>
