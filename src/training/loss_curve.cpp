#include "training/loss_curve.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>

#include "base/error.h"
#include "io/picture.h"

#ifndef LORIKEET_NO_CAIRO
#include <cairo.h>
#endif

namespace lorikeet {

std::vector<double> smoothed_losses(const std::vector<LogRow>& rows, double half_life) {
  const double keep = std::exp2(-1 / half_life);
  std::vector<double> result;
  double sum = 0, weight = 0;
  for (const LogRow& row : rows) {
    if (std::isfinite(row.loss)) {
      sum = keep * sum + row.loss;
      weight = keep * weight + 1;
    }
    result.push_back(weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN());
  }
  return result;
}

std::vector<double> axis_ticks(double least, double most, int count) {
  const double raw = (most - least) / std::max(1, count), power = std::pow(10, std::floor(std::log10(raw)));
  const double factor = raw / power <= 1 ? 1 : raw / power <= 2 ? 2 : raw / power <= 5 ? 5 : 10;
  const double step = factor * power;
  std::vector<double> ticks;
  for (int64_t i = std::llround(std::ceil(least / step - 1e-9)); static_cast<double>(i) * step <= most + step * 1e-9; ++i)
    ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

#ifdef LORIKEET_NO_CAIRO

bool can_draw_loss_curve() { return false; }

void draw_loss_curve(const std::filesystem::path& png, const std::vector<LogRow>&, const std::string&) {
  throw Error(ErrorKind::unsupported, "this build was made without Cairo and cannot draw " + png.string());
}

#else

namespace {
constexpr double kWidth = 1200, kHeight = 700;                                         // px
constexpr double kLeft = 90, kRight = kWidth - 90, kTop = 80, kBottom = kHeight - 65;  // of the plot
constexpr double kTextSize = 15, kTitleSize = 21;

struct Colour {
  double red, green, blue, alpha = 1;
};
constexpr Colour kInk{0.13, 0.13, 0.16}, kGrid{0.90, 0.90, 0.92}, kRaw{0.16, 0.45, 0.75, 0.28}, kSmooth{0.08, 0.33, 0.65},
    kTrained{0.90, 0.49, 0.10}, kHeldOut{0.78, 0.12, 0.25}, kRate{0.35, 0.58, 0.35};

struct Span {
  double least = std::numeric_limits<double>::infinity(), most = -std::numeric_limits<double>::infinity();
  void take(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  bool empty() const { return least > most; }
  // Where nothing or one value is, some room around it.
  Span widened() const {
    if (empty()) return {0, 1};
    if (least < most) return *this;
    const double room = std::max(std::abs(least) / 2, 1e-12);
    return {least - room, most + room};
  }
};

// Follows the averages, which matter; single steps far from them are cut off.
Span loss_span(const std::vector<LogRow>& rows, const std::vector<double>& smoothed, double half_life) {
  Span all, told;
  for (size_t i = 0; i < rows.size(); ++i) {
    all.take(rows[i].loss);
    // The first averages are of a few steps only.
    if (static_cast<double>(i) >= half_life || static_cast<double>(rows.size()) < 3 * half_life) told.take(smoothed[i]);
    told.take(rows[i].train_validation.value_or(std::nan("")));
    told.take(rows[i].validation.value_or(std::nan("")));
  }
  if (told.empty()) return told.widened();
  const double room = std::max(0.75 * (told.most - told.least), 0.15 * std::abs(told.most));
  Span span{std::max(told.least - room, std::min(all.least, told.least)), std::min(told.most + room, std::max(all.most, told.most))};
  return span.widened();
}

std::string number_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

// One drawing surface; x runs over the steps, y over the losses or over the learning rates.
class Plot {
 public:
  Plot(Span steps, Span losses, Span rates) : steps_(steps), losses_(losses), rates_(rates) {
    surface_.reset(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(kWidth), static_cast<int>(kHeight)));
    pen_.reset(cairo_create(surface_.get()));
    colour({1, 1, 1});
    cairo_paint(pen_.get());
    cairo_select_font_face(pen_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_line_join(pen_.get(), CAIRO_LINE_JOIN_ROUND);
  }

  double x(double step) const { return kLeft + (step - steps_.least) / (steps_.most - steps_.least) * (kRight - kLeft); }
  double y(double loss) const { return kBottom - (loss - losses_.least) / (losses_.most - losses_.least) * (kBottom - kTop); }
  double y_rate(double rate) const { return kBottom - (rate - rates_.least) / (rates_.most - rates_.least) * (kBottom - kTop); }

  void colour(const Colour& c) { cairo_set_source_rgba(pen_.get(), c.red, c.green, c.blue, c.alpha); }

  // align: 0 the text begins at x, 0.5 it is centred there, 1 it ends there.
  void text(const std::string& words, double at_x, double at_y, double align, double size = kTextSize) {
    cairo_set_font_size(pen_.get(), size);
    cairo_text_extents_t extents;
    cairo_text_extents(pen_.get(), words.c_str(), &extents);
    cairo_move_to(pen_.get(), at_x - align * extents.x_advance, at_y);
    cairo_show_text(pen_.get(), words.c_str());
  }

  void upright_text(const std::string& words, double at_x, double angle) {
    cairo_save(pen_.get());
    cairo_translate(pen_.get(), at_x, (kTop + kBottom) / 2);
    cairo_rotate(pen_.get(), angle);
    text(words, 0, 0, 0.5);
    cairo_restore(pen_.get());
  }

  void segment(double x0, double y0, double x1, double y1, double width) {
    cairo_set_line_width(pen_.get(), width);
    cairo_move_to(pen_.get(), x0, y0);
    cairo_line_to(pen_.get(), x1, y1);
    cairo_stroke(pen_.get());
  }

  // A line through the points of all rows; values that are not finite are gaps. What lies outside of the plot is cut off.
  void curve(const std::vector<LogRow>& rows, double width, const std::function<double(size_t)>& y_of) {
    begin_clip();
    cairo_set_line_width(pen_.get(), width);
    bool open = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      const double at = y_of(i);
      if (!std::isfinite(at)) {
        open = false;
        continue;
      }
      // Far outside Cairo's fixed-point numbers would overflow.
      const double near = std::clamp(at, -kHeight, 2 * kHeight);
      if (open)
        cairo_line_to(pen_.get(), x(static_cast<double>(rows[i].step)), near);
      else
        cairo_move_to(pen_.get(), x(static_cast<double>(rows[i].step)), near);
      open = true;
    }
    cairo_stroke(pen_.get());
    cairo_restore(pen_.get());
  }

  void dot(double at_x, double at_y, double radius) {
    cairo_new_sub_path(pen_.get());
    cairo_arc(pen_.get(), at_x, at_y, radius, 0, 2 * M_PI);
    cairo_fill(pen_.get());
  }

  // Dots where there is a value, joined by a thin line.
  void dots(const std::vector<LogRow>& rows, std::optional<double> LogRow::*member) {
    std::optional<std::pair<double, double> > last;
    begin_clip();
    for (const LogRow& row : rows) {
      if (!(row.*member) || !std::isfinite(*(row.*member))) continue;
      const std::pair here{x(static_cast<double>(row.step)), std::clamp(y(*(row.*member)), -kHeight, 2 * kHeight)};
      if (last) segment(last->first, last->second, here.first, here.second, 1.5);
      dot(here.first, here.second, 4);
      last = here;
    }
    cairo_restore(pen_.get());
  }

  void frame() {
    colour(kInk);
    cairo_set_line_width(pen_.get(), 1);
    cairo_rectangle(pen_.get(), kLeft + 0.5, kTop + 0.5, kRight - kLeft, kBottom - kTop);
    cairo_stroke(pen_.get());
  }

  Picture picture() {
    cairo_surface_flush(surface_.get());
    const unsigned char* data = cairo_image_surface_get_data(surface_.get());
    if (cairo_status(pen_.get()) != CAIRO_STATUS_SUCCESS || data == nullptr)
      throw Error(ErrorKind::internal, std::string("drawing the loss curve failed: ") + cairo_status_to_string(cairo_status(pen_.get())));
    const int stride = cairo_image_surface_get_stride(surface_.get());
    Picture result{.width_px = static_cast<int>(kWidth), .height_px = static_cast<int>(kHeight), .channels = 3, .pixels = {}};
    for (int row = 0; row < result.height_px; ++row)
      for (int column = 0; column < result.width_px; ++column) {
        uint32_t pixel = 0;  // 0x00RRGGBB in the machine's own order
        std::copy_n(data + row * stride + column * 4, 4, reinterpret_cast<unsigned char*>(&pixel));
        for (const int shift : {16, 8, 0}) result.pixels.push_back(static_cast<uint8_t>(pixel >> shift));
      }
    return result;
  }

 private:
  void begin_clip() {
    cairo_save(pen_.get());
    cairo_rectangle(pen_.get(), kLeft, kTop, kRight - kLeft, kBottom - kTop);
    cairo_clip(pen_.get());
  }

  struct Free {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* pen) const { cairo_destroy(pen); }
  };
  Span steps_, losses_, rates_;
  std::unique_ptr<cairo_surface_t, Free> surface_;
  std::unique_ptr<cairo_t, Free> pen_;
};

void draw_axes(Plot& plot, Span steps, Span losses, Span rates) {
  for (const double tick : axis_ticks(steps.least, steps.most, 8)) {
    if (tick != std::floor(tick)) continue;  // of a handful of steps
    plot.colour(kGrid);
    plot.segment(plot.x(tick), kTop, plot.x(tick), kBottom, 1);
    plot.colour(kInk);
    plot.text(number_text(tick), plot.x(tick), kBottom + 22, 0.5);
  }
  for (const double tick : axis_ticks(losses.least, losses.most, 7)) {
    plot.colour(kGrid);
    plot.segment(kLeft, plot.y(tick), kRight, plot.y(tick), 1);
    plot.colour(kInk);
    plot.text(number_text(tick), kLeft - 8, plot.y(tick) + 5, 1);
  }
  for (const double tick : axis_ticks(rates.least, rates.most, 5)) {
    plot.colour(kRate);
    plot.segment(kRight, plot.y_rate(tick), kRight + 5, plot.y_rate(tick), 1);
    plot.text(number_text(tick), kRight + 9, plot.y_rate(tick) + 5, 0);
  }
  plot.colour(kInk);
  plot.text("step", (kLeft + kRight) / 2, kHeight - 16, 0.5);
  plot.upright_text("loss", 22, -M_PI / 2);
  plot.colour(kRate);
  plot.upright_text("learning rate", kWidth - 14, -M_PI / 2);
}

struct LegendRow {
  std::string words;
  Colour colour;
  double width;
  bool dotted;
};

void draw_legend(Plot& plot, const std::vector<LegendRow>& rows) {
  double x = kLeft;
  for (const LegendRow& row : rows) {
    plot.colour(row.colour);
    plot.segment(x, kTop - 17, x + 26, kTop - 17, row.width);
    if (row.dotted) plot.dot(x + 13, kTop - 17, 4);
    plot.colour(kInk);
    plot.text(row.words, x + 32, kTop - 12, 0);
    x += 60 + 8.2 * static_cast<double>(row.words.size());
  }
}
}  // namespace

bool can_draw_loss_curve() { return true; }

void draw_loss_curve(const std::filesystem::path& png, const std::vector<LogRow>& rows, const std::string& title) {
  // A thirtieth of the run: short enough to follow it, long enough to calm the noise of single timesteps.
  const double half_life = std::max(1.0, static_cast<double>(rows.size()) / 30);
  const std::vector<double> smoothed = smoothed_losses(rows, half_life);
  Span steps, rates;
  rates.take(0);
  for (const LogRow& row : rows) {
    steps.take(static_cast<double>(row.step));
    rates.take(row.learning_rate * 1.1);
  }
  steps = steps.widened();
  rates = rates.widened();
  const Span losses = loss_span(rows, smoothed, half_life);
  Plot plot(steps, losses, rates);
  draw_axes(plot, steps, losses, rates);
  plot.colour(kRaw);
  plot.curve(rows, 1, [&](size_t i) { return plot.y(rows[i].loss); });
  plot.colour(kRate);
  plot.curve(rows, 1.2, [&](size_t i) { return plot.y_rate(rows[i].learning_rate); });
  plot.colour(kSmooth);
  plot.curve(rows, 3, [&](size_t i) { return plot.y(smoothed[i]); });
  std::vector<LegendRow> legend{{"loss", kRaw, 2, false}, {"its average", kSmooth, 3, false}};
  const auto add_validation = [&](std::optional<double> LogRow::*member, const char* words, const Colour& colour) {
    if (std::ranges::none_of(rows, [&](const LogRow& row) { return (row.*member).has_value(); })) return;
    plot.colour(colour);
    plot.dots(rows, member);
    legend.push_back({words, colour, 1.5, true});
  };
  add_validation(&LogRow::train_validation, "fixed noise, trained pictures", kTrained);
  add_validation(&LogRow::validation, "fixed noise, held-out pictures", kHeldOut);
  legend.push_back({"learning rate", kRate, 1.2, false});
  plot.frame();
  draw_legend(plot, legend);
  plot.colour(kInk);
  plot.text(title + ": loss over " + std::to_string(rows.empty() ? 0 : rows.back().step) + " steps", kLeft, 36, 0, kTitleSize);
  write_picture(png, plot.picture());
}

#endif

}  // namespace lorikeet
