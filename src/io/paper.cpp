#include "io/paper.h"

#include <cairo.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
struct FreeSurface {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
};
struct FreeContext {
  void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
};
using SurfacePointer = std::unique_ptr<cairo_surface_t, FreeSurface>;
using ContextPointer = std::unique_ptr<cairo_t, FreeContext>;

constexpr double kAscent = 0.98;  // of the em, from the top of a line to the baseline: room for accents on capitals

SurfacePointer new_surface(int width, int height) {
  SurfacePointer surface(cairo_image_surface_create(CAIRO_FORMAT_ARGB32, width, height));
  if (const auto status = cairo_surface_status(surface.get()); status != CAIRO_STATUS_SUCCESS)
    throw Error(ErrorKind::out_of_memory, "cannot make a sheet of " + std::to_string(width) + " x " + std::to_string(height) +
                                              " pixels: " + cairo_status_to_string(status));
  return surface;
}

void set_ink(cairo_t* cairo, Ink ink) { cairo_set_source_rgb(cairo, ink.r, ink.g, ink.b); }

void set_font(cairo_t* cairo, const Lettering& lettering) {
  cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, lettering.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, lettering.size_px);
}

// What may be given to Cairo.
std::string printable(std::string_view text) {
  std::string clean = valid_utf8(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return clean;
}

double advance(cairo_t* cairo, const std::string& printable_text) {
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, printable_text.c_str(), &extents);
  if (const auto status = cairo_status(cairo); status != CAIRO_STATUS_SUCCESS)
    throw Error(ErrorKind::unsupported, std::string("cannot draw text: ") + cairo_status_to_string(status),
                "install a font, for example the package fonts-dejavu-core");
  return extents.x_advance;
}

// Measures text without a drawing.
struct Ruler {
  SurfacePointer surface = new_surface(1, 1);
  ContextPointer cairo{cairo_create(surface.get())};
  explicit Ruler(const Lettering& lettering) { set_font(cairo.get(), lettering); }
  double operator()(const std::string& text) const { return advance(cairo.get(), text); }
};

size_t next_character(const std::string& text, size_t at) {
  ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

// The longest beginning of `text` that fits, at least one character.
size_t fitting(const Ruler& width, const std::string& text, double width_px) {
  size_t end = next_character(text, 0);
  for (size_t next = end; next < text.size();) {
    next = next_character(text, next);
    if (width(text.substr(0, next)) > width_px) break;
    end = next;
  }
  return end;
}

// RGBA bytes -> Cairo's premultiplied words. Rounded as (c · a + 127) / 255.
void fill_surface(cairo_surface_t* surface, const Picture& picture) {
  const int stride = cairo_image_surface_get_stride(surface);
  unsigned char* rows = cairo_image_surface_get_data(surface);
  const uint8_t* from = picture.pixels.data();
  for (int y = 0; y < picture.height_px; ++y) {
    auto* to = reinterpret_cast<uint32_t*>(rows + static_cast<ptrdiff_t>(stride) * y);
    for (int x = 0; x < picture.width_px; ++x, from += picture.channels) {
      const uint32_t alpha = picture.channels == 4 ? from[3] : 255;
      const auto part = [&](int channel) { return (from[picture.channels == 1 ? 0 : channel] * alpha + 127) / 255; };
      to[x] = alpha << 24 | part(0) << 16 | part(1) << 8 | part(2);
    }
  }
  cairo_surface_mark_dirty(surface);
}
}  // namespace

double text_width(std::string_view text, const Lettering& lettering) { return Ruler(lettering)(printable(text)); }

std::vector<std::string> wrapped_text(std::string_view text, double width_px, const Lettering& lettering, size_t most_lines) {
  const Ruler width(lettering);
  const std::string clean = printable(text);
  std::vector<std::string> lines(1);
  for (const auto part : split(trim(clean), ' ')) {
    std::string word(part);
    const std::string joined = lines.back().empty() ? word : lines.back() + " " + word;
    if (width(joined) <= width_px) {
      lines.back() = joined;
      continue;
    }
    if (!lines.back().empty()) lines.emplace_back();
    while (width(word) > width_px) {
      const size_t end = fitting(width, word, width_px);
      if (end == word.size()) break;
      lines.back() = word.substr(0, end);
      lines.emplace_back();
      word.erase(0, end);
    }
    lines.back() = word;
  }
  if (lines.size() <= most_lines) return lines;
  lines.resize(std::max<size_t>(most_lines, 1));
  std::string& last = lines.back();
  while (!last.empty() && width(last + "…") > width_px) {
    do last.pop_back();
    while (!last.empty() && !is_valid_utf8(last));
  }
  last += "…";
  return lines;
}

struct Paper::Surface {
  SurfacePointer surface;
  ContextPointer cairo;
};

Paper::Paper(int width_px, int height_px, Ink background) : surface_(std::make_unique<Surface>()) {
  if (width_px < 1 || height_px < 1 || width_px > kMostPictureSidePx || height_px > kMostPictureSidePx)
    throw Error(ErrorKind::bad_input,
                "a sheet of " + std::to_string(width_px) + " x " + std::to_string(height_px) + " pixels cannot be made");
  surface_->surface = new_surface(width_px, height_px);
  surface_->cairo.reset(cairo_create(surface_->surface.get()));
  set_ink(surface_->cairo.get(), background);
  cairo_paint(surface_->cairo.get());
}

Paper::~Paper() = default;

void Paper::rectangle(Spot corner, double width, double height, Ink ink) {
  cairo_t* cairo = surface_->cairo.get();
  set_ink(cairo, ink);
  cairo_rectangle(cairo, corner.x, corner.y, width, height);
  cairo_fill(cairo);
}

void Paper::line(std::span<const Spot> points, double width, Ink ink) {
  cairo_t* cairo = surface_->cairo.get();
  set_ink(cairo, ink);
  cairo_set_line_width(cairo, width);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  cairo_new_path(cairo);
  for (const Spot& point : points) cairo_line_to(cairo, point.x, point.y);
  cairo_stroke(cairo);
}

void Paper::text(Spot place, std::string_view text, const Lettering& lettering, Align align) {
  cairo_t* cairo = surface_->cairo.get();
  const std::string clean = printable(text);
  set_font(cairo, lettering);
  const double width = advance(cairo, clean);
  const double left = place.x - (align == Align::left ? 0 : align == Align::centre ? width / 2 : width);
  set_ink(cairo, lettering.ink);
  cairo_move_to(cairo, std::round(left), std::round(place.y + kAscent * lettering.size_px));
  cairo_show_text(cairo, clean.c_str());
}

void Paper::picture(Spot corner, int width, int height, const Picture& picture) {
  cairo_t* cairo = surface_->cairo.get();
  const SurfacePointer source = new_surface(picture.width_px, picture.height_px);
  cairo_surface_flush(source.get());
  fill_surface(source.get(), picture);
  cairo_save(cairo);
  cairo_translate(cairo, corner.x, corner.y);
  cairo_scale(cairo, static_cast<double>(width) / picture.width_px, static_cast<double>(height) / picture.height_px);
  cairo_set_source_surface(cairo, source.get(), 0, 0);
  const bool as_it_is = width == picture.width_px && height == picture.height_px;
  cairo_pattern_set_filter(cairo_get_source(cairo), as_it_is ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_BEST);
  cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
  cairo_rectangle(cairo, 0, 0, picture.width_px, picture.height_px);
  cairo_fill(cairo);
  cairo_restore(cairo);
}

Picture Paper::finished() const {
  cairo_surface_t* surface = surface_->surface.get();
  cairo_surface_flush(surface);
  const int width = cairo_image_surface_get_width(surface), height = cairo_image_surface_get_height(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  const unsigned char* rows = cairo_image_surface_get_data(surface);
  Picture picture{width, height, 3, std::vector<uint8_t>(size_t{3} * width * height)};
  uint8_t* to = picture.pixels.data();
  for (int y = 0; y < height; ++y) {
    const auto* from = reinterpret_cast<const uint32_t*>(rows + static_cast<ptrdiff_t>(stride) * y);
    for (int x = 0; x < width; ++x, to += 3) {
      to[0] = static_cast<uint8_t>(from[x] >> 16);
      to[1] = static_cast<uint8_t>(from[x] >> 8);
      to[2] = static_cast<uint8_t>(from[x]);
    }
  }
  return picture;
}

}  // namespace lorikeet
