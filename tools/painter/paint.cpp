// Drawing: background, then the things from back to front, at twice the size, and averaged down; styles of blocks are drawn small and
// enlarged.
#include "painter/paint.h"

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace lorikeet::painter {

namespace {

constexpr int kBlocksASide = 32;
constexpr int kSupersampling = 2;  // on top of cairo's own antialiasing, which suffers where edges meet

struct Surface {
  explicit Surface(int side)
      : surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, side, side), cairo_surface_destroy),
        cairo(cairo_create(surface.get()), cairo_destroy) {
    if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS) throw Error(ErrorKind::out_of_memory, "cairo has no memory for a picture");
  }
  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> cairo;
};

void draw_shadow(Pen& pen, const Scene& scene, const Actor& actor) {
  if (actor.thing->habitat != Habitat::ground || (scene.setting == kSea && !scene.shore)) return;
  const double foot = actor.box.y + actor.box.half_height;
  if (foot < scene.horizon + .08) return;  // what floats has no ground below
  pen.ellipse(actor.box.x, foot - .005, actor.box.half_height * actor.thing->aspect * .8, .022).shadow();
}

void draw_scene(Pen& pen, const Scene& scene) {
  Random background(scene.seed, 1);
  settings()[scene.setting].draw(pen, scene.horizon, scene.shore, background);
  for (const auto& actor : scene.actors) {
    draw_shadow(pen, scene, actor);
    Random proportions(actor.seed);
    pen.enter(actor.box);
    actor.thing->draw(pen, colours()[actor.colour].rgb, proportions);
    pen.leave();
  }
}

// The mean of squares of `factor` pixels.
Picture reduced(cairo_surface_t* surface, int side, int factor) {
  cairo_surface_flush(surface);
  const unsigned char* data = cairo_image_surface_get_data(surface);
  const int stride = cairo_image_surface_get_stride(surface), area = factor * factor;
  Picture picture{.width_px = side, .height_px = side, .channels = 3, .pixels = std::vector<uint8_t>(size_t{3} * side * side)};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      uint32_t sum[3]{};
      for (int dy = 0; dy < factor; ++dy) {
        const auto* row = reinterpret_cast<const uint32_t*>(data + static_cast<ptrdiff_t>(y * factor + dy) * stride) + x * factor;
        for (int dx = 0; dx < factor; ++dx) {
          for (int c = 0; c < 3; ++c) sum[c] += row[dx] >> (16 - 8 * c) & 255;
        }
      }
      for (int c = 0; c < 3; ++c)
        picture.pixels[(static_cast<size_t>(y) * side + x) * 3 + c] = static_cast<uint8_t>((sum[c] + area / 2) / area);
    }
  }
  return picture;
}

Picture enlarged(const Picture& small, int factor) {
  const int side = small.width_px * factor;
  Picture picture{.width_px = side, .height_px = side, .channels = 3, .pixels = std::vector<uint8_t>(size_t{3} * side * side)};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const auto* from = &small.pixels[(static_cast<size_t>(y / factor) * small.width_px + x / factor) * 3];
      std::copy_n(from, 3, &picture.pixels[(static_cast<size_t>(y) * side + x) * 3]);
    }
  }
  return picture;
}

void check_side(const Style& style, int side_px) {
  if (side_px < 32 || side_px > 2048) throw Error(ErrorKind::bad_input, "pictures have 32 to 2048 pixels a side");
  if (style.blocks && side_px % kBlocksASide) {
    throw Error(ErrorKind::bad_input, "the style " + std::string(style.name) + " needs a size that is a multiple of 32");
  }
}

}  // namespace

Picture paint(const Scene& scene, const Style& style, int side_px) {
  check_side(style, side_px);
  const int side = style.blocks ? kBlocksASide : side_px * kSupersampling;
  Surface target(side);
  if (style.blocks) cairo_set_antialias(target.cairo.get(), CAIRO_ANTIALIAS_NONE);
  Pen pen(target.cairo.get(), style, side, Random(scene.seed, 2));
  draw_scene(pen, scene);
  Picture picture = reduced(target.surface.get(), style.blocks ? side : side_px, style.blocks ? 1 : kSupersampling);
  Random random(scene.seed, 3);
  if (style.finish) style.finish(picture, random);
  return style.blocks ? enlarged(picture, side_px / kBlocksASide) : picture;
}

}  // namespace lorikeet::painter
