// Which files of a diffusers component folder ("unet/") hold its weights.
#pragma once
#include <filesystem>
#include <vector>

namespace lorikeet {

// The shards named by an index file, or the one weight file: safetensors before .bin, the plain name before variants (".fp16").
// Throws Error{not_found} when there is none.
std::vector<std::filesystem::path> component_files(const std::filesystem::path& folder);

}  // namespace lorikeet
