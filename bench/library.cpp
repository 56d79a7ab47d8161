#include "library.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <tuple>

#include "io/atomic_file.h"
#include "library/facts.h"
#include "library/library.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

constexpr int kFiles = 10000;

double milliseconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

// 24 tags out of some hundred, as training writes them.
std::string tag_frequency(int number) {
  constexpr const char* kWords[] = {"red",  "blue",  "solo",  "smile", "fox",   "snow", "oil",   "forest", "night", "city",
                                    "hair", "dress", "house", "water", "light", "old",  "metal", "flower", "sky",   "dark"};
  std::string tags;
  for (int i = 0; i < 24; ++i) {
    const int which = number * 7 + i * 13;
    tags += (i ? R"(, \")" : R"(\")") + std::string(kWords[which % 20]) + " " + kWords[which / 20 % 20] + R"(\": )" + std::to_string(60 - 2 * i);
  }
  return R"({\"10_images\": {)" + tags + "}}";
}

void write_lora(const fs::path& path, int number, int modules) {
  std::string header = R"({"__metadata__": {"ss_output_name": "style)" + std::to_string(number) + R"(", "ss_base_model_version": "sd_v1", )" +
                       R"("ss_tag_frequency": ")" + tag_frequency(number) + "\"}";
  uint64_t at = 0;
  const auto add = [&](const std::string& name, uint64_t rows, uint64_t columns) {
    const uint64_t end = at + 2 * rows * columns;
    header += ", \"" + name + R"(": {"dtype": "F16", "shape": [)" + std::to_string(rows) + ", " + std::to_string(columns) +
              R"(], "data_offsets": [)" + std::to_string(at) + ", " + std::to_string(end) + "]}";
    at = end;
  };
  for (int i = 0; i < modules; ++i) {
    const std::string module = "lora_unet_down_blocks_" + std::to_string(i) + "_attentions_0_transformer_blocks_0_attn2_to_k";
    add(module + ".lora_down.weight", 32, number % 3 ? 768 : 2048);
    add(module + ".lora_up.weight", 320, 32);
    add(module + ".alpha", 1, 1);
  }
  header += "}";
  std::ofstream out(path, std::ios::binary);
  const uint64_t length = header.size();
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << header;
  out.close();
  fs::resize_file(path, 8 + header.size() + at);
}

std::unique_ptr<Library> open(const fs::path& folder) {
  LibraryOptions options;
  options.folders.add_folder(ModelKind::lora, folder / "loras");
  options.data = folder / "data";
  options.hash = false;
  return std::make_unique<Library>(options);
}

void fill(const fs::path& folder) {
  for (int i = 0; i < kFiles; ++i) {
    const fs::path below = folder / "loras" / ("folder" + std::to_string(i % 50));
    if (i < 50) fs::create_directories(below);
    write_lora(below / ("style" + std::to_string(i) + ".safetensors"), i, 4);
  }
}

}  // namespace

void measure_library(const fs::path& folder, const std::function<void(const std::string&, double, const std::string&)>& add) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::unique_ptr<const fs::path, void (*)(const fs::path*)> clean(&folder, [](const fs::path* path) {
    std::error_code ignored;
    fs::remove_all(*path, ignored);
  });
  write_lora(folder / "whole.safetensors", 0, 264);
  add("library: one header of 264 modules", milliseconds_of([&] { read_facts({ModelKind::lora, "whole", folder / "whole.safetensors"}); }), "ms");
  fill(folder);
  add("library: first scan of 10,000 LoRAs", milliseconds_of([&] { open(folder)->refresh(); }) / 1000, "s");
  std::unique_ptr<Library> library;
  add("library: start to first page, 10,000 LoRAs", milliseconds_of([&] { (library = open(folder))->list({}); }), "ms");
  add("library: scan again, nothing changed", milliseconds_of([&] { library->refresh(); }) / 1000, "s");
  double slowest = 0;
  std::string slowest_text;
  for (const char* text : {"", "style", "red", "fox snow", "re", "\"oil forest\"", "folder7 dark", "-red", "nothing of the kind", "abcdef01"})
    for (const LibrarySort sort : {LibrarySort::name, LibrarySort::size}) {
      const double took = milliseconds_of([&] { library->list({.text = text, .sort = sort, .descending = sort != LibrarySort::name}); });
      if (took > slowest) std::tie(slowest, slowest_text) = std::pair(took, text);
    }
  add("library: search, the slowest of 20 (\"" + slowest_text + "\")", slowest, "ms");
  add("library: a page in the middle", milliseconds_of([&] { library->list({.offset = kFiles / 2}); }), "ms");
}

}  // namespace lorikeet
