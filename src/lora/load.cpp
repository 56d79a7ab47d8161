// Loading a LoRA file for a model: all of its adapters at once.
#include <set>

#include "base/error.h"
#include "lora/apply.h"
#include "lora/reader.h"

namespace lorikeet {
namespace {

void drop_duplicates(std::vector<std::string>& names) {
  const std::set<std::string> distinct(names.begin(), names.end());
  names.assign(distinct.begin(), distinct.end());
}

}  // namespace

std::shared_ptr<const LoadedLora> load_lora(const LoraFile& file, const LayerMap& layers, std::string_view family) {
  return with_context("while reading LoRA " + file.path().filename().string(), [&]() -> std::shared_ptr<const LoadedLora> {
    torch::NoGradGuard no_grad;
    const LoraReader reader({std::shared_ptr<void>(), &file}, layers, family);  // the caller keeps the file for as long
    auto loaded = std::make_shared<LoadedLora>();
    LoraReport& report = loaded->report = reader.report();
    for (const auto& [path, layer] : reader.layers()) {
      ReadAdapter read = reader.load(path);
      report.unused.insert(report.unused.end(), read.unused.begin(), read.unused.end());
      if (!read.adapter) continue;
      ++report.kinds[std::string(read.adapter->kind())];
      loaded->adapters.emplace(path, std::move(read.adapter));
    }
    report.unused.insert(report.unused.end(), file.strays().begin(), file.strays().end());
    drop_duplicates(report.unused);
    loaded->embeddings = file.read_embeddings();
    loaded->hash = file.hash();
    return loaded;
  });
}

}  // namespace lorikeet
