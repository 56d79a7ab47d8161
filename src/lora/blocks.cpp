#include "lora/blocks.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "nn/spelling.h"

namespace lorikeet {
namespace {

std::string numbered(const char* name, int64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%02d", name, static_cast<int>(number));
  return text;
}

std::string unet_block(std::string_view path) {
  const std::string spelled = ldm_unet_spellings(path).front();
  const auto parts = split(spelled, '.');
  if (parts[0] == "middle_block") return "MID";
  const auto number = parts.size() > 1 ? parse_int(parts[1]) : std::nullopt;
  if (number && parts[0] == "input_blocks") return numbered("IN", *number);
  if (number && parts[0] == "output_blocks") return numbered("OUT", *number);
  return "BASE";
}

std::string text_block(const char* whole, const char* layer, std::string_view path) {
  constexpr std::string_view kLayers = "text_model.encoder.layers.";
  if (!starts_with(path, kLayers)) return whole;
  const auto number = parse_int(split(path.substr(kLayers.size()), '.').front());
  return number ? numbered(layer, *number) : whole;
}

std::vector<int> range(int first, int last) {
  std::vector<int> numbers;
  for (int i = first; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

std::vector<std::string> names_of(const std::vector<int>& in, const std::vector<int>& out) {
  std::vector<std::string> names{"BASE"};
  for (const int i : in) names.push_back(numbered("IN", i));
  names.emplace_back("MID");
  for (const int i : out) names.push_back(numbered("OUT", i));
  return names;
}

const std::array<std::vector<std::string>, 4>& vector_forms() {
  static const std::array<std::vector<std::string>, 4> forms{names_of({4, 5, 7, 8}, range(0, 5)),
                                                             names_of({1, 2, 4, 5, 7, 8}, range(3, 11)), names_of(range(0, 8), range(0, 8)),
                                                             names_of(range(0, 11), range(0, 11))};
  return forms;
}

constexpr const char* kCounts = "12 (SDXL), 17 (SD1), 20 (SDXL, all blocks) or 26 (SD1, all blocks) numbers are wanted";

double block_weight(std::string_view item) {
  const std::string_view text = trim(item);
  if (const auto number = parse_double(text)) return *number;
  // The extension's special values: random ones could not be made again, and X is a number from elsewhere in the tag.
  if (text == "R" || text == "U")
    throw Error(ErrorKind::unsupported, "a random block weight (R, U) could not be made again", "write a number");
  if (starts_with(text, "X"))
    throw Error(ErrorKind::unsupported, "the block weight X stands for another number of the tag", "write that number in its place");
  throw Error(ErrorKind::bad_input, "the block weight \"" + std::string(item) + "\" is no number");
}

int group_of(std::string_view block) {
  constexpr std::array<std::string_view, 6> kGroups{"TE2", "TE", "BASE", "IN", "MID", "OUT"};
  for (size_t i = 0; i < kGroups.size(); ++i)
    if (starts_with(block, kGroups[i])) return i < 2 ? 1 - static_cast<int>(i) : static_cast<int>(i);
  return static_cast<int>(kGroups.size());
}

}  // namespace

std::string block_of(std::string_view path) {
  const size_t dot = path.find('.');
  const std::string_view component = path.substr(0, dot), body = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  if (component == "unet") return unet_block(body);
  if (component == "text_encoder") return text_block("TE", "TE", body);
  if (component == "text_encoder_2") return text_block("TE2", "TE2-", body);
  return "OTHER";
}

bool begins_a_block(std::string_view name) {
  if (name.empty()) return false;
  for (const std::string_view whole : {"BASE", "MID", "OTHER"})
    if (starts_with(whole, name)) return true;
  for (const std::string_view numbered : {"IN", "OUT", "TE", "TE2-"}) {
    if (starts_with(numbered, name)) return true;
    const std::string_view number = starts_with(name, numbered) ? name.substr(numbered.size()) : "";
    if (!number.empty() && number.size() <= 2 && std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; })) return true;
  }
  return false;
}

bool block_before(std::string_view a, std::string_view b) {
  const int first = group_of(a), second = group_of(b);
  return first != second ? first < second : a < b;
}

BlockWeights BlockWeights::parse(std::string_view text) {
  const auto items = split(text, ',');
  BlockWeights weights;
  weights.text_ = std::string(text);
  for (const auto& form : vector_forms()) {
    if (form.size() != items.size()) continue;
    for (size_t i = 0; i < items.size(); ++i) weights.weights_[form[i]] = block_weight(items[i]);
    return weights;
  }
  if (items.size() == 61) throw Error(ErrorKind::unsupported, "61 block weights are for Flux, which is not supported", kCounts);
  throw Error(ErrorKind::bad_input, "there are " + std::to_string(items.size()) + " block weights", kCounts);
}

BlockWeights BlockWeights::of(std::span<const std::pair<std::string, double>> all) {
  BlockWeights weights;
  std::vector<std::string> numbers;
  for (const auto& [block, weight] : all) {
    weights.weights_[block] = weight;
    numbers.push_back(format_number(weight));
  }
  weights.text_ = join(numbers, ",");
  return weights;
}

double BlockWeights::at(std::string_view path) const {
  if (weights_.empty()) return 1;
  std::string block = block_of(path);
  if (starts_with(block, "TE") || block == "OTHER") block = "BASE";
  const auto found = weights_.find(block);
  return found == weights_.end() ? 0 : found->second;
}

}  // namespace lorikeet
