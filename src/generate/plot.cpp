#include "generate/plot.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "generate/engine.h"
#include "generate/infotext_words.h"
#include "generate/plot_axes.h"

namespace lorikeet {

namespace {
constexpr std::string_view kSideNames[] = {"X", "Y", "Z"};
// Eight pictures of 512²: what a batch holds on a GPU. On the CPU cells are made one by one, as a batch gains nothing there.
constexpr int64_t kMostBatchPixels = int64_t{8} << 18;

// The plot with no seed left open.
PlotRequest with_fixed_seeds(PlotRequest plot) {
  if (plot.base.seed < 0) plot.base.seed = random_seed();
  if (plot.base.subseed < 0) plot.base.subseed = random_seed();
  for (PlotAxis& axis : plot.axes) fix_random_seeds(axis, random_seed);
  return plot;
}

size_t count_of(const PlotAxis& axis) { return axis.empty() ? 1 : axis.values.size(); }

// "cell 3 of 15: sampling"; cancelling the outer one is passed on.
class CellProgress : public Progress {
 public:
  CellProgress(Progress& outer, size_t total) : outer_(outer), total_(total) {}
  void begin(size_t first, size_t count) {
    label_ = count == 1 ? "cell " + std::to_string(first + 1) : "cells " + std::to_string(first + 1) + "-" + std::to_string(first + count);
    label_ += " of " + std::to_string(total_) + ": ";
    relay();
    check();
  }
  void stage(std::string_view name, int total) override {
    outer_.stage(label_ + std::string(name), total);
    relay();
  }
  void step(int done) override {
    outer_.step(done);
    relay();
  }
  bool wants_preview() const override { return outer_.wants_preview(); }
  void preview(const Tensor& x0) override { outer_.preview(x0); }

 private:
  void relay() {
    if (outer_.cancelled()) cancel();
  }
  Progress& outer_;
  size_t total_;
  std::string label_;
};

// Applies the axes in the order of the kinds. Values may hold {words} of other axes, in either direction: these are put in as often as
// there are axes. `placed[i]` becomes true where axis i found a place.
void put_values(PlannedCell& cell, const std::array<PlotAxis, 3>& axes, std::array<bool, 3>& placed) {
  for (const AxisKind& kind : axis_kind_table())
    for (size_t round = 0; round < axes.size(); ++round)
      for (size_t i = 0; i < axes.size(); ++i) {
        if (axes[i].empty() || &kind_of(axes[i]) != &kind || (round > 0 && !kind.again)) continue;
        with_context("while putting " + axes[i].values[cell.at[i]].substr(0, 80) + " on the axis " + axes[i].key, [&] {
          if (kind.put(cell, axes[i], cell.at[i])) placed[i] = true;
        });
      }
}

std::string place_text(const PlannedCell& cell, const std::array<PlotAxis, 3>& axes) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < axes.size(); ++i)
    if (!axes[i].empty()) parts.push_back(axes[i].key + "=" + axes[i].values[cell.at[i]].substr(0, 80));
  return parts.empty() ? "the only cell" : "the cell " + join(parts, ", ");
}

void check_base(const PlotRequest& plot) {
  if (all_pictures(plot.base) != 1)
    throw Error(ErrorKind::bad_input, "a cell of a plot is one picture, but " + std::to_string(all_pictures(plot.base)) + " are asked for",
                "several prompts, seeds or pictures are axes: seed=1-4");
  check_axes(plot.axes);
  size_t cells = 1;
  for (const PlotAxis& axis : plot.axes) cells *= std::min(count_of(axis), kMostPlotCells + 1);
  if (cells > kMostPlotCells)
    throw Error(ErrorKind::bad_input, "the plot has more than " + std::to_string(kMostPlotCells) + " cells", "take fewer values");
}

// The order in which cells are made: those of one checkpoint together, and in these those of one prompt, so that weights seldom change.
std::vector<size_t> order_of_work(const std::vector<PlannedCell>& cells) {
  std::vector<size_t> order(cells.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return std::tie(cells[a].model, cells[a].request.prompts) < std::tie(cells[b].model, cells[b].request.prompts);
  });
  return order;
}

bool can_share_batch(const PlannedCell& a, const PlannedCell& b) {
  Request one = a.request, other = b.request;
  one.prompts = other.prompts;
  one.seed = other.seed;
  one.subseed = other.subseed;
  return a.model == b.model && one == other;
}

// What is being made, and with what.
class Plotter {
 public:
  Plotter(Engine& engine, const PlotRequest& plot, const std::vector<PlannedCell>& cells, Progress& progress)
      : own_(engine), plot_(plot), cells_(cells), progress_(progress, cells.size()) {
    for (const PlannedCell& cell : cells) result_.cells.push_back({cell.at, {}});
    // A checkpoint that is not there is told before the first picture.
    for (const PlannedCell& cell : cells) checkpoint_of(cell.model);
  }

  PlotResult run() {
    const std::vector<size_t> order = order_of_work(cells_);
    for (size_t first = 0; first < order.size();) {
      const size_t count = batch_from(order, first);
      make(std::span(order).subspan(first, count), first);
      first += count;
    }
    return std::move(result_);
  }

 private:
  size_t batch_from(const std::vector<size_t>& order, size_t first) const {
    const PlannedCell& cell = cells_[order[first]];
    if (own_.unet().compute().device.is_cpu()) return 1;
    const ModelSpec& spec = own_.spec();
    const int64_t most = std::max<int64_t>(1, kMostBatchPixels / (spec.side_px(cell.request.width) * spec.side_px(cell.request.height)));
    size_t count = 1;
    while (first + count < order.size() && std::cmp_less(count, most) && can_share_batch(cell, cells_[order[first + count]])) ++count;
    return count;
  }

  std::filesystem::path checkpoint_of(const std::string& model) {
    if (model.empty()) return own_.options().checkpoint;
    const FoundModel found = own_.options().folders.find(ModelKind::checkpoint, model, plot_.model_paths);
    for (const std::string& note : found.notes) add_warning(note);
    return found.file.path;
  }

  Engine& engine_of(const std::string& model) {
    const auto path = checkpoint_of(model);
    if (std::error_code ignored; std::filesystem::equivalent(path, own_.options().checkpoint, ignored)) return own_;
    if (other_ && other_->options().checkpoint == path) return *other_;
    other_.reset();  // first, so that two of them never are in memory
    progress_.stage("loading " + path.filename().string(), 0);
    EngineOptions options = own_.options();
    options.checkpoint = path;
    other_ = std::make_unique<Engine>(std::move(options));
    return *other_;
  }

  void make(std::span<const size_t> batch, size_t first) {
    progress_.begin(first, batch.size());
    Request request = cells_[batch[0]].request;
    request.prompts.clear();
    std::vector<PictureSeeds> seeds;
    for (const size_t index : batch) {
      const Request& one = cells_[index].request;
      request.prompts.push_back(one.prompts[0]);
      seeds.push_back({one.seed, one.subseed});
    }
    GenerateResult made = generate(engine_of(cells_[batch[0]].model), request, seeds, progress_);
    for (size_t i = 0; i < batch.size(); ++i) result_.cells[batch[i]].made = std::move(made.pictures[i]);
    for (const std::string& warning : made.warnings) add_warning(warning);
    for (LoraReport& lora : made.loras) {
      const auto same = [&](const LoraReport& other) { return other.path == lora.path; };
      if (std::ranges::none_of(result_.loras, same)) result_.loras.push_back(std::move(lora));
    }
  }

  void add_warning(const std::string& text) {
    if (std::ranges::find(result_.warnings, text) == result_.warnings.end()) result_.warnings.push_back(text);
  }

  Engine& own_;
  const PlotRequest& plot_;
  const std::vector<PlannedCell>& cells_;
  CellProgress progress_;
  PlotResult result_;
  std::unique_ptr<Engine> other_;
};

// "Script: X/Y/Z plot, X Type: Steps, X Values: \"10,20\"" before the version, as A1111 has it.
std::string with_axes(std::string infotext, const std::array<PlotAxis, 3>& axes) {
  std::string script = "Script: X/Y/Z plot, ";
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].empty()) continue;
    const std::string side(kSideNames[i]);
    script +=
        side + " Type: " + quote_infotext(axis_title(axes[i])) + ", " + side + " Values: " + quote_infotext(values_text(axes[i])) + ", ";
  }
  const size_t version = infotext.rfind("Version: ");
  return version == std::string::npos ? infotext + ", " + script.substr(0, script.size() - 2) : infotext.insert(version, script);
}
}  // namespace

std::vector<PlannedCell> plan_plot(const PlotRequest& plot) {
  check_base(plot);
  std::vector<PlannedCell> cells;
  std::array<bool, 3> placed{};
  for (size_t z = 0; z < count_of(plot.axes[2]); ++z)
    for (size_t y = 0; y < count_of(plot.axes[1]); ++y)
      for (size_t x = 0; x < count_of(plot.axes[0]); ++x) {
        PlannedCell cell{.at = {x, y, z}, .request = plot.base, .model = {}};
        put_values(cell, plot.axes, placed);
        with_context("in " + place_text(cell, plot.axes), [&] { validate(cell.request); });
        cells.push_back(std::move(cell));
      }
  for (size_t i = 0; i < placed.size(); ++i)
    if (!plot.axes[i].empty() && !placed[i])
      throw Error(ErrorKind::bad_input, "the axis " + plot.axes[i].key + " changes nothing",
                  "what it replaces has to stand in the prompt, in the negative prompt or in a value of another axis");
  return cells;
}

PlotResult make_plot(Engine& engine, const PlotRequest& asked, Progress& progress) {
  const auto began = std::chrono::steady_clock::now();
  const PlotRequest plot = with_fixed_seeds(asked);
  const std::vector<PlannedCell> cells = plan_plot(plot);
  PlotResult result = Plotter(engine, plot, cells, progress).run();
  progress.stage("drawing the sheet", 0);
  std::vector<const Picture*> pictures;
  for (const PlotCell& cell : result.cells) pictures.push_back(&cell.made.picture);
  result.sheet = draw_plot_sheet(plot, pictures);
  result.infotext = with_axes(result.cells[0].made.infotext, plot.axes);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return result;
}

}  // namespace lorikeet
