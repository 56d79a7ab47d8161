// lorikeet-painter: makes pictures with captions to train the demo model on, or measures pictures.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "painter/measure.h"
#include "painter/paint.h"

namespace lorikeet::painter {
namespace {

namespace fs = std::filesystem;

struct Options {
  fs::path folder, sheet;
  std::vector<fs::path> measured;
  uint64_t count = 100, seed = 1, first = 1;
  int size = 128, tile = 0, columns = 10;
  int side_px() const { return tile > 0 ? tile : size; }
  std::string style = "base";
  bool style_words = false;
  Wishes wishes;
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("folder", o.folder, "where the pictures go: 00001.png with its caption 00001.txt, and so on");
  app.add_option("--count", o.count, "how many")->capture_default_str();
  app.add_option("--seed", o.seed, "picture i depends on the seed and i alone")->capture_default_str();
  app.add_option("--first", o.first, "the number of the first picture")->capture_default_str();
  app.add_option("--size", o.size, "pixels a side")->capture_default_str();
  app.add_option("--tile", o.tile, "keep only a square part of so many pixels a side, somewhere in the picture")->check(CLI::Range(1, 16384));
  app.add_option("--style", o.style, "base, neon, sketch, pixel, glass or blueprint")->capture_default_str();
  app.add_flag("--style-words", o.style_words, "captions end with the style: \", neon style\"");
  app.add_option("--subject", o.wishes.subject, "pictures of one particular thing that the base set never shows: robot");
  app.add_option("--thing", o.wishes.thing, "only this thing: house, tree, ...");
  app.add_option("--color,--colour", o.wishes.colour, "only this colour");
  app.add_option("--setting", o.wishes.setting, "only this setting: sea, meadow, night, snow, desert or plain");
  app.add_option("--composition", o.wishes.composition, "single, count or pair");
  app.add_flag("--held-out", o.wishes.held_out, "only the combinations that the base set never shows");
  app.add_option("--sheet", o.sheet, "also one PNG with all pictures side by side; without a folder, only that");
  app.add_option("--columns", o.columns, "of the sheet")->capture_default_str()->check(CLI::Range(1, 100));
  app.add_option("--measure", o.measured, "measures these pictures instead, a line of JSON each");
}

std::string numbered(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%05llu", static_cast<unsigned long long>(number));
  return text;
}

// A training set can be made again at any time: it is written without waiting for the disk, which would take longer than the painting.
void write_quickly(const fs::path& path, const void* bytes, size_t size) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  file.close();
  if (!file) throw Error(ErrorKind::io, "cannot write " + path.string());
}

void put_on_sheet(Picture& sheet, const Picture& picture, uint64_t position, int columns) {
  const int side = picture.width_px;
  const size_t left = position % columns * side, top = position / columns * side;
  for (int y = 0; y < side; ++y) {
    std::copy_n(&picture.pixels[size_t{3} * y * side], 3 * side, &sheet.pixels[((top + y) * sheet.width_px + left) * 3]);
  }
}

Picture empty_sheet(const Options& o) {
  const int columns = static_cast<int>(std::min<uint64_t>(o.columns, o.count)), rows = static_cast<int>((o.count + columns - 1) / columns);
  Picture sheet{.width_px = columns * o.side_px(), .height_px = rows * o.side_px(), .channels = 3, .pixels = {}};
  if (int64_t{sheet.width_px} * sheet.height_px > kMostPicturePixels)
    throw Error(ErrorKind::bad_input, "so many pictures make too large a sheet");
  sheet.pixels.assign(size_t{3} * sheet.width_px * sheet.height_px, 255);
  return sheet;
}

// A square part of the picture at a place of its own.
Picture tile_of(const Picture& picture, int side, uint64_t seed) {
  Random random(seed);
  const auto place = [&](int room) { return static_cast<int>(random.below(static_cast<uint64_t>(room) + 1)); };
  const int left = place(picture.width_px - side), top = place(picture.height_px - side);
  Picture tile{.width_px = side, .height_px = side, .channels = 3, .pixels = {}};
  for (int y = top; y < top + side; ++y) {
    const auto* row = &picture.pixels[size_t{3} * (y * picture.width_px + left)];
    tile.pixels.insert(tile.pixels.end(), row, row + size_t{3} * side);
  }
  return tile;
}

void paint_all(Options o) {
  if (o.folder.empty() && o.sheet.empty())
    throw Error(ErrorKind::bad_input, "a folder for the pictures is missing", "lorikeet-painter FOLDER");
  if (o.tile > o.size) throw Error(ErrorKind::bad_input, "a part of " + std::to_string(o.tile) + " pixels does not fit a picture of " + std::to_string(o.size));
  const Style& style = style_named(o.style);
  if (o.style_words) o.wishes.caption_tail = style.words;
  if (!o.folder.empty()) fs::create_directories(o.folder);
  Picture sheet;
  if (!o.sheet.empty()) sheet = empty_sheet(o);
  for (uint64_t i = 0; i < o.count; ++i) {
    const Scene scene = make_scene(o.seed, o.first + i, o.wishes);
    Picture picture = paint(scene, style, o.size);
    if (o.tile > 0) picture = tile_of(picture, o.tile, o.seed + o.first + i);
    if (!o.folder.empty()) {
      const auto bytes = encode_picture(PictureFormat::png, picture);
      write_quickly(o.folder / (numbered(o.first + i) + ".png"), bytes.data(), bytes.size());
      write_quickly(o.folder / (numbered(o.first + i) + ".txt"), scene.caption.data(), scene.caption.size());
    }
    if (!o.sheet.empty()) {
      put_on_sheet(sheet, picture, i, sheet.width_px / o.size);
      if (o.folder.empty()) std::printf("%s\t%s\n", numbered(o.first + i).c_str(), scene.caption.c_str());
    }
  }
  if (!o.sheet.empty()) write_picture(o.sheet, sheet);
}

}  // namespace
}  // namespace lorikeet::painter

int main(int count, char** arguments) {
  using namespace lorikeet::painter;
  CLI::App app("Paints pictures with captions, or measures pictures.", "lorikeet-painter");
  Options options;
  add_options(app, options);
  CLI11_PARSE(app, count, arguments);
  try {
    for (const auto& path : options.measured) std::printf("%s\n", measures_json(measure(lorikeet::read_picture(path).picture)).c_str());
    if (options.measured.empty()) paint_all(std::move(options));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
