// X/Y/Z plots, as A1111's script of that name: one request made again and again with one, two or three things changed, and all pictures on
// one labelled sheet. plot_axes.cpp: what can change; plot_sheet.cpp: the sheet.
#pragma once
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "generate/generate.h"
#include "generate/request.h"

namespace lorikeet {

// One side of a plot: what changes, and its values.
struct PlotAxis {
  std::string key;                  // as one of axis_kinds() takes it; "": the plot has no such side
  std::vector<std::string> values;  // one a column, row or sheet
  bool empty() const { return key.empty(); }
  bool operator==(const PlotAxis&) const = default;
};

// What a key can be. Help reads the list.
struct AxisKindInfo {
  std::string_view spelling;  // "lora:NAME"
  std::string_view help;      // a sentence without a full stop
};
std::span<const AxisKindInfo> axis_kinds();

// "steps=10, 20, 30-50 (+10)". Values are parted by commas; one with a comma in it stands in double quotes, quotes in it are
// doubled (CSV, as A1111 has it). Of settings that are numbers, and of multipliers, A1111's ranges: "1-5" and "1-5 (+2)" (steps of
// 1, of 2), "0-1 [5]" (five values, evenly; cut to whole numbers where the setting needs that); the last two also of words. Unlike
// in A1111 a range never steps over its end. Error{bad_input} names the axis.
PlotAxis read_plot_axis(std::string_view text);
std::string axis_title(const PlotAxis& axis);  // "CFG scale", "LoRA neon", "Prompt S/R"
// How a value is called on the sheet: LoRA tags by their names and arguments, "neon + pixel 0.5 x=0-0.5"; long numbers rounded to four decimals.
std::string value_label(std::string_view value);

struct PlotRequest {
  Request base;                  // one picture: a single prompt, batch_size and n_iter 1. A seed of -1 is drawn once for all cells
  std::array<PlotAxis, 3> axes;  // x: columns, y: rows, z: blocks of columns and rows side by side
  std::string title;             // above the sheet; "": none
  bool model_paths = false;      // values of the axis "model" may be paths of files, not only names in the models folders
};

struct PlotCell {
  std::array<size_t, 3> at;  // which value of x, y, z
  GeneratedPicture made;
};

struct PlotResult {
  std::vector<PlotCell> cells;  // z by z, row by row
  Picture sheet;
  std::string infotext;  // of the first cell, and the axes ("Script: X/Y/Z plot, X Type: …, X Values: …")
  std::vector<LoraReport> loras;
  std::vector<std::string> warnings;
  double seconds = 0;
};

// Every cell is the picture that generate() makes of its settings alone: bit for bit on the CPU; on a GPU cells that differ in prompt,
// LoRAs or seed only share batches, which rounds differently. Error{bad_input} before any work: an axis that changes nothing, a value that
// does not fit, more than kMostPlotCells. With the axis "model" one other checkpoint at a time is loaded beside the engine's. Progress:
// "cell 3 of 15: sampling".
inline constexpr size_t kMostPlotCells = 1000;
PlotResult make_plot(Engine& engine, const PlotRequest& plot, Progress& progress);

// The settings of the cell at these places, z by z, row by row, checked; what make_plot makes.
struct PlannedCell {
  std::array<size_t, 3> at;
  Request request;
  std::string model;  // "": the engine's own
};
std::vector<PlannedCell> plan_plot(const PlotRequest& plot);

// The sheet alone: `pictures` in the order of plan_plot's cells. Cells may differ in size; a sheet that would be too large is made smaller.
Picture draw_plot_sheet(const PlotRequest& plot, std::span<const Picture* const> pictures);

}  // namespace lorikeet
