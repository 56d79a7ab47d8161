#include "lora/surgery/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "base/text.h"
#include "lora/blocks.h"

namespace lorikeet {
namespace {

struct LayerWord {
  std::string_view part, column;
};
// By the first part that a layer's path contains. The columns stand in this order.
constexpr LayerWord kColumns[] = {{"q_proj", "text q"},
                                  {"k_proj", "text k"},
                                  {"v_proj", "text v"},
                                  {"out_proj", "text out"},
                                  {"fc1", "text fc1"},
                                  {"fc2", "text fc2"},
                                  {"attn1.to_q", "self q"},
                                  {"attn1.to_k", "self k"},
                                  {"attn1.to_v", "self v"},
                                  {"attn1.to_out", "self out"},
                                  {"attn2.to_q", "cross q"},
                                  {"attn2.to_k", "cross k"},
                                  {"attn2.to_v", "cross v"},
                                  {"attn2.to_out", "cross out"},
                                  {"ff.net.0", "ff in"},
                                  {"ff.net.2", "ff out"},
                                  {"proj_in", "proj in"},
                                  {"proj_out", "proj out"},
                                  {".conv1", "conv 1"},
                                  {".conv2", "conv 2"},
                                  {"conv_shortcut", "skip"},
                                  {"time_emb_proj", "time"},
                                  {"samplers", "sampler"},
                                  {".norm", "norm"},
                                  {"", "other"}};

std::string_view column_of(std::string_view path) {
  for (const LayerWord& word : kColumns)
    if (path.find(word.part) != std::string_view::npos) return word.column;
  return "other";
}

struct Cell {
  double change = 0, weight = 0, entries = 0;  // sums of squares; numbers

  double value(bool relative) const {
    const double whole = relative ? weight : entries;
    return whole > 0 ? std::sqrt(change / whole) : 0;
  }
};

// From pale yellow to dark blue, as ColorBrewer's YlGnBu (Brewer 2013): in order of lightness, so that it reads in grey too.
Rgb colour_of(double share) {
  constexpr std::array<Rgb, 6> kAnchors{{{255, 255, 217}, {199, 233, 180}, {127, 205, 187}, {65, 182, 196}, {34, 94, 168}, {8, 29, 88}}};
  const double place = std::clamp(share, 0.0, 1.0) * (kAnchors.size() - 1);
  const size_t first = std::min(static_cast<size_t>(place), kAnchors.size() - 2);
  Rgb colour{};
  for (size_t i = 0; i < 3; ++i)
    colour[i] = static_cast<uint8_t>(
        std::lround(kAnchors[first][i] + (place - static_cast<double>(first)) * (kAnchors[first + 1][i] - kAnchors[first][i])));
  return colour;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
  return text;
}

constexpr int kLeft = 110, kTop = 110, kWidth = 84, kHeight = 28, kEdge = 20;
constexpr Rgb kBlack{20, 20, 20}, kWhite{255, 255, 255}, kEmpty{238, 238, 238};

class HeatMap {
 public:
  explicit HeatMap(const LoraDescription& description) : description_(description) {
    std::set<std::string_view> used;
    for (const LayerFacts& layer : description.layers) {
      const std::string_view column = column_of(layer.path);
      used.insert(column);
      Cell& cell = cells_[{layer.block, column}];
      cell.change += layer.norm * layer.norm;
      cell.weight += layer.weight_norm * layer.weight_norm;
      cell.entries += static_cast<double>(layer.entries);
    }
    for (const LayerWord& word : kColumns)
      if (used.contains(word.column) && std::ranges::find(columns_, word.column) == columns_.end()) columns_.push_back(word.column);
    for (const auto& [place, cell] : cells_) most_ = std::max(most_, cell.value(description.with_checkpoint));
  }

  Drawing draw() {
    constexpr int kRoomForTitle = 640;
    drawing_.width_px = std::max(kLeft + static_cast<int>(columns_.size()) * kWidth + kEdge, kRoomForTitle);
    drawing_.height_px = kTop + static_cast<int>(description_.blocks.size()) * kHeight + kEdge;
    add_text(kEdge, 24, description_.summary.name, Drawing::Align::left);
    add_text(kEdge, 50, description_.with_checkpoint ? "change of the weights in %" : "size of the change, 1000 = the largest",
             Drawing::Align::left);
    for (size_t column = 0; column < columns_.size(); ++column) draw_heading(column);
    for (size_t row = 0; row < description_.blocks.size(); ++row) {
      add_text(kLeft - 10, y_of(row) + kHeight / 2, description_.blocks[row].name, Drawing::Align::right);
      for (size_t column = 0; column < columns_.size(); ++column) draw_cell(row, column);
    }
    return std::move(drawing_);
  }

 private:
  static int x_of(size_t column) { return kLeft + static_cast<int>(column) * kWidth; }
  static int y_of(size_t row) { return kTop + static_cast<int>(row) * kHeight; }

  void add_text(int x, int y, std::string text, Drawing::Align align, const Rgb& colour = kBlack) {
    drawing_.texts.emplace_back();
    Drawing::Text& added = drawing_.texts.back();
    added.x_px = x, added.y_px = y;
    added.text = std::move(text);
    added.colour = colour;
    added.align = align;
  }

  void draw_heading(size_t column) {
    const int x = x_of(column) + kWidth / 2;
    const auto words = split(columns_[column], ' ');
    add_text(x, kTop - 32, std::string(words[0]), Drawing::Align::middle);
    if (words.size() > 1) add_text(x, kTop - 14, std::string(words[1]), Drawing::Align::middle);
  }

  void draw_cell(size_t row, size_t column) {
    constexpr int kGap = 2;
    const int x = x_of(column), y = y_of(row);
    const std::string& block = description_.blocks[row].name;
    const std::string title = block + ", " + std::string(columns_[column]) + ": ";
    const auto cell = cells_.find({block, columns_[column]});
    if (cell == cells_.end()) {
      drawing_.boxes.push_back({x, y, kWidth - kGap, kHeight - kGap, kEmpty, title + "nothing"});
      return;
    }
    const double value = cell->second.value(description_.with_checkpoint), share = most_ > 0 ? value / most_ : 0;
    const std::string text = number(description_.with_checkpoint ? 100 * value : 1000 * share);
    drawing_.boxes.push_back({x, y, kWidth - kGap, kHeight - kGap, colour_of(share), title + text});
    constexpr double kDarkFrom = 0.55;  // where white is read better than black
    add_text(x + (kWidth - kGap) / 2, y + (kHeight - kGap) / 2, text, Drawing::Align::middle, share > kDarkFrom ? kWhite : kBlack);
  }

  const LoraDescription& description_;
  std::map<std::pair<std::string, std::string_view>, Cell> cells_;
  std::vector<std::string_view> columns_;
  double most_ = 0;
  Drawing drawing_;
};

}  // namespace

Drawing heat_map(const LoraDescription& description) { return HeatMap(description).draw(); }

}  // namespace lorikeet
