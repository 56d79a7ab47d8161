#include "workshop.h"

#include <chrono>
#include <memory>

#include "base/progress.h"
#include "lora/surgery/describe.h"
#include "training.h"
#include "workshop/bake.h"
#include "workshop/operations.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

class WorkshopBench {
 public:
  WorkshopBench(const WorkshopFiles& files, const fs::path& folder, const std::function<bool(const std::string&)>& wanted,
                const std::function<void(const std::string&, double, const std::string&)>& add)
      : files_(files), folder_(folder), wanted_(wanted), add_(add) {}

  void run() {
    row("info, rank 128", [&] { describe(*table().open(files_.large), progress_); });
    row("check with the checkpoint, rank 128", [&] { describe(*bound().open(files_.large), progress_); });
    row("bake two LoRAs of rank 32", [&] { bake_two(files_.second, "baked"); });
    row("mix two of rank 32, sum", [&] { mix_two("sum", {}); });
    row("mix two of rank 32, svd to rank 32", [&] { mix_two("svd", {.rank = 32}); });
    row("mix two of rank 32, ties to rank 32", [&] { mix_two("ties", {.rank = 32}); });
    row("resize rank 128 to 32", [&] { resize_file(*table().open(files_.large), {.ranks = {.rank = 32}}, out("resized"), progress_); });
    row("convert to diffusers' keys, rank 128", [&] { convert_file(*table().open(files_.large), {.spelling = "diffusers"}, false, out("converted"), progress_); });
    if (!wanted_("workshop: extract")) return;
    const fs::path tuned = bake_two(files_.whole, "tuned");
    row("extract rank 32, linear layers", [&] { extract(tuned, {.ranks = {.rank = 32}, .convolutions = false}); });
    row("extract rank 32, with 3×3 convolutions", [&] { extract(tuned, {.ranks = {.rank = 32}}); });
    row("extract rank 32, linear layers, exact", [&] { extract(tuned, {.ranks = {.rank = 32}, .convolutions = false, .exact = true}); });
  }

 private:
  void row(const std::string& name, const std::function<void()>& work) {
    const std::string title = "workshop: " + name;
    if (!wanted_(title)) return;
    reset_peak_memory();
    const auto begin = std::chrono::steady_clock::now();
    work();
    add_(title, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), "s");
    add_("peak memory of " + title, static_cast<double>(peak_memory_mb()), "MB");
  }

  fs::path out(const std::string& name) const { return folder_ / (name + ".safetensors"); }
  LoraTable table() const { return {ModelFolders(), true}; }
  LoraTable bound() const {
    LoraTable table = this->table();
    table.use_checkpoint(files_.checkpoint);
    return table;
  }
  fs::path bake_two(const fs::path& second, const std::string& name) {
    LoraTable table = bound();
    const std::vector<MixInput> inputs{{table.open(files_.first), 0.8, 0.8}, {table.open(second), 0.5, 0.5}};
    bake(*table.checkpoint()->checkpoint, table.checkpoint()->layers, inputs, {}, out(name), progress_);
    return out(name);
  }
  void mix_two(const std::string& method, const RankOptions& ranks) {
    LoraTable table = this->table();
    const std::vector<MixInput> inputs{{table.open(files_.first), 0.7, 0.7}, {table.open(files_.second), 0.3, 0.3}};
    mix_files(inputs, {.method = method, .ranks = ranks}, "", out("mixed"), progress_);
  }
  void extract(const fs::path& tuned, const ExtractOptions& options) {
    extract_file(open_checkpoint(files_.checkpoint), open_checkpoint(tuned), options, "kohya", out("extracted"), progress_);
  }

  const WorkshopFiles& files_;
  const fs::path& folder_;
  const std::function<bool(const std::string&)>& wanted_;
  const std::function<void(const std::string&, double, const std::string&)>& add_;
  Progress progress_;
};

}  // namespace

void measure_workshop(const WorkshopFiles& files, const fs::path& folder, const std::function<bool(const std::string&)>& wanted,
                      const std::function<void(const std::string&, double, const std::string&)>& add) {
  fs::create_directories(folder);
  WorkshopBench(files, folder, wanted, add).run();
  fs::remove_all(folder);
}

}  // namespace lorikeet
