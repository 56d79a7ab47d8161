#include "prompt/clip_data.h"

namespace lorikeet {

namespace {
#include "clip_data.inc"  // generated
}  // namespace

std::span<const std::uint32_t> clip_merges() { return kMergeTable; }
std::span<const Entity> html_entities() { return kEntityTable; }

}  // namespace lorikeet
