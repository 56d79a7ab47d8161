#include "library/fit.h"

#include "base/error.h"
#include "base/text.h"
#include "lora/reader.h"
#include "model/spec.h"
#include "workshop/outline.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

// The first module whose change is of another size than its layer; "" when all fit.
std::string wrong_size(const LoraReader& reader) {
  for (const auto& [path, layer] : reader.layers()) {
    const std::string& module = reader.module(path);
    const auto size = delta_size(reader.file().shapes(module));
    const auto shape = layer->base_weight().sizes();
    if (!size || shape.empty()) continue;
    const int64_t rows = shape[0], columns = layer->base_weight().numel() / std::max<int64_t>(1, rows);
    // Three times the rows: OpenCLIP's q, k and v in one. 4 of the 9 input channels of an inpainting model: see apply.h.
    const bool fused = size->rows == 3 * rows;
    const bool inpainting = ends_with(path, "conv_in") && columns * 4 == size->columns * 9;
    if ((size->rows == rows || fused) && (size->columns == columns || inpainting)) continue;
    return module + " changes " + std::to_string(size->rows) + " × " + std::to_string(size->columns) + " numbers, the layer has " +
           std::to_string(rows) + " × " + std::to_string(columns);
  }
  return {};
}

}  // namespace

std::shared_ptr<const FitCheck::Outline> FitCheck::outline_of(const fs::path& path) {
  std::error_code code;
  const auto changed = fs::last_write_time(path, code);
  if (last_ && last_->path == path && last_->changed == changed) return last_;
  const auto checkpoint = Checkpoint::open(path);
  const ModelSpec spec = recognise_model(*checkpoint);
  auto made = std::make_shared<Outline>();
  made->path = path;
  made->changed = changed;
  made->family = spec.family;
  made->label = spec.label;
  made->layers = outline(*checkpoint, spec);
  return last_ = made;
}

LoraFit FitCheck::check(const fs::path& lora, const fs::path& checkpoint) {
  LoraFit fit;
  try {
    const std::lock_guard lock(mutex_);
    const auto file = std::make_shared<const LoraFile>(TensorFile::open_header(lora));
    fit.total = static_cast<int>(file->modules().size());
    const auto model = outline_of(checkpoint);
    const LoraReader reader(file, model->layers, model->family);
    fit.matched = reader.report().matched;
    fit.reason = wrong_size(reader);
    fit.fits = fit.reason.empty();
    if (!fit.fits) return fit;
    fit.reason = std::to_string(fit.matched) + " of " + std::to_string(fit.total) + " modules match a layer of this " + model->label;
    if (fit.matched < fit.total) fit.reason += " (first that does not: " + reader.report().unmatched.front() + ")";
  } catch (const Error& error) {
    fit.fits = false;
    fit.reason = valid_utf8(replace_all(replace_all(error.message(), lora.string(), lora.filename().string()), checkpoint.string(),
                                        checkpoint.filename().string()));
  }
  return fit;
}

}  // namespace lorikeet
