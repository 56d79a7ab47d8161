#include "check.h"

#include <cstdio>
#include <regex>

#include "base/error.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

double relative_error(const Tensor& actual, const Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const Tensor a = actual.detach().to(torch::kCPU, torch::kFloat64), e = expected.to(torch::kFloat64);
  if (e.numel() == 0) return 0;
  const double difference = (a - e).abs().max().item<double>(), scale = e.abs().max().item<double>();
  if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
  return scale > 0 ? difference / scale : difference;
}

Check::Check(fs::path root, Device device) : root_(std::move(root)), device_(device) {}

std::vector<fs::path> Check::files(const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file() && std::regex_match(fs::relative(entry.path(), root_).generic_string(), regex)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  read_.insert(found.begin(), found.end());
  return found;
}

void Check::mark_read(const fs::path& file) { read_.insert(file); }

std::vector<std::string> Check::unread() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file() && !read_.contains(entry.path())) names.push_back(fs::relative(entry.path(), root_).generic_string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void Check::result(const std::string& name, double error, double bar) {
  const bool good = error <= bar;
  ++(good ? passed_ : failed_);
  std::printf("%s %-58s %9.2e (bar %.0e)\n", good ? "ok  " : "FAIL", name.c_str(), error, bar);
  std::fflush(stdout);
}

void Check::fail(const std::string& name, const std::string& why) {
  ++failed_;
  std::printf("FAIL %-58s %s\n", name.c_str(), why.c_str());
}

void Check::run(const std::string& name, const std::function<void()>& work) {
  try {
    torch::NoGradGuard no_grad;
    work();
  } catch (const std::exception& error) {
    fail(name, error.what());
  }
}

std::shared_ptr<Model> load_model(const fs::path& path, Device device) {
  auto model = std::make_shared<Model>();
  model->checkpoint = Checkpoint::open(path);
  model->spec = recognise_model(*model->checkpoint);
  const Weights weights(*model->checkpoint, model->layers, Compute{device, torch::kFloat32});
  for (const auto& text : model->spec.text_encoders) {
    model->text_encoders.push_back(std::make_unique<ClipTextModel>(text, weights / text.component));
  }
  model->unet = std::make_unique<UNet>(model->spec.unet, weights / "unet");
  model->vae = std::make_unique<Vae>(model->spec.vae, weights / "vae");
  return model;
}

std::shared_ptr<Model> model_named(Check& check, const std::string& name) {
  static std::map<std::pair<fs::path, std::string>, std::shared_ptr<Model>> models;
  const auto key = std::make_pair(check.root(), name);
  if (const auto found = models.find(key); found != models.end()) return found->second;
  for (const char* extension : {".safetensors", ".ckpt"}) {
    const fs::path path = check.root() / name / (name + extension);
    if (!fs::exists(path)) continue;
    check.mark_read(path);
    check.mark_read(check.root() / name / (name + ".config.json"));
    return models[key] = load_model(path, check.device());
  }
  return nullptr;
}

std::span<const Group> groups() {
  static constexpr Group kGroups[] = {{"models", check_models}};
  return kGroups;
}

}  // namespace lorikeet::oracle
