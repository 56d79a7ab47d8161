// The kinds of axis, a row each. Neighbour of plot.h.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "generate/plot.h"

namespace lorikeet {

struct AxisKind {
  AxisKindInfo info;
  bool (*reads)(std::string_view key);
  std::string (*title)(std::string_view key);
  // Puts a value into a cell. false: there was no place for it.
  bool (*put)(PlannedCell& cell, const PlotAxis& axis, size_t index);
  bool again = false;  // the values of other axes of this kind may have brought new places for it
};

std::span<const AxisKind> axis_kind_table();      // in the order in which axes are applied
const AxisKind& kind_of(const PlotAxis& axis);    // Error{bad_input} with the near names
void check_axes(std::span<const PlotAxis> axes);  // Error{bad_input}: no values, or two axes that change the same
// Seeds of -1 among the values of a seed axis become what `draw` gives.
void fix_random_seeds(PlotAxis& axis, int64_t (*draw)());
std::string values_text(const PlotAxis& axis);  // as read_plot_axis reads them

}  // namespace lorikeet
