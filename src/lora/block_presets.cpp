#include "lora/block_presets.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {

// A built-in preset: the weights of BASE, of the shallow and deep blocks on the way down, of the middle, and on the way up.
struct BuiltIn {
  std::string_view name;
  double base, in_shallow, in_deep, middle, out_deep, out_shallow;
};
constexpr auto kBuiltIn = std::to_array<BuiltIn>({
    {"ALL", 1, 1, 1, 1, 1, 1},
    {"ALL0.5", 0.5, 0.5, 0.5, 0.5, 0.5, 0.5},
    {"NONE", 0, 0, 0, 0, 0, 0},
    {"INS", 1, 1, 0, 0, 0, 0},
    {"IND", 1, 0, 1, 0, 0, 0},
    {"INALL", 1, 1, 1, 0, 0, 0},
    {"MIDD", 1, 0, 1, 1, 1, 0},
    {"OUTD", 1, 0, 0, 0, 1, 0},
    {"OUTS", 1, 0, 0, 0, 0, 1},
    {"OUTALL", 1, 0, 0, 0, 1, 1},
});

// Where the built-in presets cut a way through the U-Net: IN blocks from `in_deep` on and OUT blocks before `out_shallow` are deep. In the
// extension's 17 numbers for SD1: IND is IN05, 07, 08, OUTD is OUT03…06. SDXL has no such tradition: cut at its coarsest size.
struct Depth {
  int in_deep, out_shallow;
};
Depth depth_of(size_t in_blocks) { return in_blocks > 9 ? Depth{5, 7} : Depth{6, 3}; }

struct ModelBlocks {
  std::vector<std::string> names;  // BASE, IN…, MID, OUT…, in this order
  size_t in = 0;
};

ModelBlocks blocks_of(const LayerMap& layers) {
  std::set<std::string> in, out;
  for (const auto& [path, layer] : layers) {
    if (!starts_with(path, "unet.")) continue;
    const std::string block = block_of(path);
    if (starts_with(block, "IN")) in.insert(block);
    if (starts_with(block, "OUT")) out.insert(block);
  }
  ModelBlocks blocks{{"BASE"}, in.size()};
  blocks.names.insert(blocks.names.end(), in.begin(), in.end());
  blocks.names.emplace_back("MID");
  blocks.names.insert(blocks.names.end(), out.begin(), out.end());
  return blocks;
}

double weight_in(const BuiltIn& preset, const std::string& block, const Depth& depth) {
  if (block == "BASE") return preset.base;
  if (block == "MID") return preset.middle;
  const bool in = starts_with(block, "IN");
  const int number = static_cast<int>(*parse_int(block.substr(in ? 2 : 3)));
  if (in) return number < depth.in_deep ? preset.in_shallow : preset.in_deep;
  return number < depth.out_shallow ? preset.out_deep : preset.out_shallow;
}

template <class Weight>
BlockWeights made(const ModelBlocks& blocks, Weight weight) {
  std::vector<std::pair<std::string, double>> all;
  for (const std::string& name : blocks.names) all.emplace_back(name, weight(name));
  return BlockWeights::of(all);
}

bool same(std::string_view a, std::string_view b, bool any_case) { return any_case ? lower(a) == lower(b) : a == b; }

std::optional<BlockWeights> built_in(std::string_view text, const LayerMap& layers, bool any_case) {
  const ModelBlocks blocks = blocks_of(layers);
  for (const BuiltIn& preset : kBuiltIn) {
    if (same(preset.name, text, any_case))
      return made(blocks, [&](const std::string& block) { return weight_in(preset, block, depth_of(blocks.in)); });
  }
  for (const std::string& name : blocks.names)
    if (same(name, text, any_case)) return made(blocks, [&](const std::string& block) { return block == name ? 1.0 : 0.0; });
  return std::nullopt;
}

}  // namespace

BlockPresets BlockPresets::in(const ModelFolders& folders) {
  std::vector<std::filesystem::path> places;
  for (const auto& root : folders.roots())
    for (const char* below : {"extensions/sd-webui-lora-block-weight/scripts", "scripts", "models", "."}) places.push_back(root / below);
  places.insert(places.end(), folders.places(ModelKind::lora).begin(), folders.places(ModelKind::lora).end());
  BlockPresets presets;
  std::set<std::filesystem::path> read;  // a folder may be named twice
  for (const auto& place : places) {
    std::error_code code;
    const auto path = std::filesystem::canonical(place / kBlockPresetFile, code);
    if (!code && read.insert(path).second) presets.add_file(path);
  }
  return presets;
}

void BlockPresets::add(std::string_view text, const std::string& source) {
  int number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.find(',', colon) == std::string_view::npos) continue;
    const std::string_view name = trim(line.substr(0, colon));
    if (name.empty() || name.front() == '#') continue;
    entries_[std::string(name)].push_back({std::string(trim(line.substr(colon + 1))), source + ", line " + std::to_string(number)});
  }
}

void BlockPresets::add_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) throw Error(ErrorKind::io, "the presets of block weights cannot be read: " + path.string());
  add(text, path.string());
}

BlockWeights BlockPresets::weights(std::string_view text, const LayerMap& layers) const {
  text = trim(text);
  if (text.find(',') != std::string_view::npos) return BlockWeights::parse(text);
  for (const bool any_case : {false, true}) {
    for (const auto& [name, entries] : entries_) {
      if (!same(name, text, any_case)) continue;
      std::optional<BlockWeights> fitting, last;
      for (const Entry& entry : entries) {
        last = with_context("in the preset " + name + " of " + entry.source, [&] { return BlockWeights::parse(entry.numbers); });
        if (misfit(*last, layers).empty()) fitting = last;
      }
      return fitting ? *fitting : *last;
    }
    if (auto weights = built_in(text, layers, any_case)) return *std::move(weights);
  }
  const std::vector<std::string> known = names(layers);
  const std::string near = did_you_mean(text, known);
  throw Error(ErrorKind::bad_input, "there are no block weights \"" + std::string(text) + "\"",
              (near.empty() ? "the presets are " + join(known, ", ") : near) + "; or write the numbers, lbw=1,0,…");
}

std::vector<std::string> BlockPresets::names(const LayerMap& layers) const {
  std::vector<std::string> all;
  for (const auto& [name, entries] : entries_) all.push_back(name);
  for (const BuiltIn& preset : kBuiltIn) all.emplace_back(preset.name);
  const ModelBlocks blocks = blocks_of(layers);
  all.insert(all.end(), blocks.names.begin(), blocks.names.end());
  return all;
}

std::string misfit(const BlockWeights& weights, const LayerMap& layers) {
  const ModelBlocks blocks = blocks_of(layers);
  const size_t count = weights.size();
  if (count == 0 || count == blocks.names.size() || blocks.in < 9) return "";
  const bool three_sizes = blocks.in == 9;
  const bool fits = three_sizes ? count == 12 || count == 20 : count == 17 || count == 26;
  if (fits) return "";
  return "the " + std::to_string(count) + " block weights are for " + (three_sizes ? "SD1 and SD2" : "SDXL") + "; this model takes " +
         (three_sizes ? "12 or 20" : "17 or 26") + ", and its blocks without a weight are at 0";
}

}  // namespace lorikeet
