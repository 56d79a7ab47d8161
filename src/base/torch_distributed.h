// libtorch's process groups, where this build has them: LORIKEET_GLOO and LORIKEET_NCCL say which. Debian has Gloo's own headers, which
// libtorch's include, in libgloo-dev.
#pragma once
#include "base/torch.h"

#if defined(USE_C10D_GLOO) && __has_include(<gloo/config.h>)
#define LORIKEET_GLOO 1
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#define LORIKEET_NCCL 1
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#if defined(LORIKEET_GLOO) || defined(LORIKEET_NCCL)
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace lorikeet {
// libtorch ≥ 2.4 prefers a server of the store that needs libuv, which Debian's is built without; the older one does as well for a few processes.
template <class Options>
void take_plain_server(Options& options) {
  if constexpr (requires { options.useLibUV; }) options.useLibUV = false;
}
}  // namespace lorikeet
#endif
