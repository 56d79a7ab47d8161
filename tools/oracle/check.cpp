#include "check.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <regex>
#include <sstream>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

double relative_error(const Tensor& actual, const Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const Tensor a = actual.detach().to(torch::kCPU, torch::kDouble), e = expected.to(torch::kDouble);
  if (e.numel() == 0) return 0;
  const double difference = (a - e).abs().max().item<double>(), scale = e.abs().max().item<double>();
  if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
  return scale > 0 ? difference / scale : difference;
}

double relative_error_by_element(std::span<const double> actual, const Tensor& expected, double floor) {
  const Tensor flat = expected.to(torch::kDouble).contiguous().view(-1);
  if (static_cast<int64_t>(actual.size()) != flat.numel()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double wanted = flat.data_ptr<double>()[i], error = std::abs(actual[i] - wanted) / std::max(floor, std::abs(wanted));
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  return worst;
}

Check::Check(fs::path root, Device device, bool full) : root_(std::move(root)), device_(device), full_(full) {}

std::vector<fs::path> Check::files(const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file() && std::regex_match(fs::relative(entry.path(), root_).generic_string(), regex))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  read_.insert(found.begin(), found.end());
  return found;
}

void Check::mark_read(const fs::path& file) { read_.insert(file); }

namespace {

// What tells about the data and is none.
bool is_about_the_data(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "README.md" || ends_with(name, ".py") || name == "fp32_vs_fp64.json";
}

}  // namespace

std::vector<std::string> Check::unread() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file() || read_.contains(entry.path()) || is_about_the_data(entry.path())) continue;
    names.push_back(fs::relative(entry.path(), root_).generic_string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void Check::result(const std::string& name, double error, double bar) {
  const bool good = error <= bar;
  GroupSummary& group = groups_.back();
  ++(good ? group.passed : group.failed);
  if (group.worst_case.empty() || !(error <= group.worst)) group.worst = error, group.worst_case = name;
  std::printf("%s %-62s %9.2e (bar %.0e)\n", good ? "ok  " : "FAIL", name.c_str(), error, bar);
  std::fflush(stdout);
}

void Check::fail(const std::string& name, const std::string& why) {
  ++groups_.back().failed;
  std::printf("FAIL %-62s %s\n", name.c_str(), why.c_str());
  std::fflush(stdout);
}

void Check::exact(const std::string& name, bool agrees, const std::string& why) {
  if (!agrees) return fail(name, why);
  ++groups_.back().passed;
  std::printf("ok   %-62s exact\n", name.c_str());
}

void Check::exact(const std::string& name, const Tally& tally, bool each_is_a_case) {
  constexpr size_t kShown = 20;
  const auto wrong = static_cast<int>(tally.wrong().size());
  const bool good = wrong == 0 && tally.compared() > 0;
  GroupSummary& group = groups_.back();
  group.passed += each_is_a_case ? tally.compared() - wrong : good;
  group.failed += each_is_a_case ? wrong : !good;
  std::printf("%s %-62s %d of %d exact\n", good ? "ok  " : "FAIL", name.c_str(), tally.compared() - wrong, tally.compared());
  for (size_t i = 0; i < std::min(kShown, tally.wrong().size()); ++i) std::printf("     %s\n", tally.wrong()[i].c_str());
  if (tally.wrong().size() > kShown) std::printf("     … and %zu more\n", tally.wrong().size() - kShown);
}

void Check::skip(const std::string& name, const std::string& why) {
  std::printf("--   %-62s skipped: %s\n", name.c_str(), why.c_str());
  std::fflush(stdout);
}

void Check::run(const std::string& name, const std::function<void()>& work) {
  try {
    torch::NoGradGuard no_grad;
    work();
  } catch (const std::exception& error) {
    fail(name, error.what());
  }
}

void Check::begin(std::string_view group) { groups_.push_back({std::string(group), 0, 0, 0, ""}); }

void Check::print_summary() const {
  for (const GroupSummary& group : groups_) {
    if (group.passed + group.failed == 0) continue;
    std::printf("%-20s %5d passed, %d failed", group.name.c_str(), group.passed, group.failed);
    if (!group.worst_case.empty()) std::printf(", largest relative error %.2e in %s", group.worst, group.worst_case.c_str());
    std::printf("\n");
  }
}

int Check::passed() const {
  int sum = 0;
  for (const GroupSummary& group : groups_) sum += group.passed;
  return sum;
}

int Check::failed() const {
  int sum = 0;
  for (const GroupSummary& group : groups_) sum += group.failed;
  return sum;
}

std::shared_ptr<Model> load_model(const fs::path& path, Device device) {
  auto model = std::make_shared<Model>();
  model->checkpoint = Checkpoint::open(path);
  model->spec = recognise_model(*model->checkpoint);
  const Weights weights(*model->checkpoint, model->layers, Compute{device, torch::kFloat});
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
  const fs::path folder = check.root() / name / "diffusers";
  if (!fs::exists(folder / "model_index.json")) return nullptr;
  check.files(name + R"(/diffusers/(model_index\.json|(unet|vae|text_encoder[^/]*|scheduler)/[^/]+))");
  return models[key] = load_model(folder, check.device());
}

std::string match(const fs::path& path, const std::string& pattern, int group) {
  std::smatch found;
  const std::string name = path.filename().string();
  return std::regex_match(name, found, std::regex(pattern)) ? std::string(found[static_cast<size_t>(group)]) : std::string();
}

Tensor read(const TensorFile& file, const std::string& name, Device device) {
  const Tensor tensor = file.read(name);
  return tensor.is_floating_point() ? tensor.to(device, torch::kFloat) : tensor.to(device, torch::kLong);
}

UNetInput read_unet_input(const TensorFile& file, Device device) {
  UNetInput input{read(file, "sample", device), read(file, "timestep", device).to(torch::kFloat), read(file, "context", device), {}, {}};
  if (file.contains("pooled")) input.pooled = read(file, "pooled", device);
  if (file.contains("time_ids")) input.time_ids = read(file, "time_ids", device).to(torch::kFloat);
  return input;
}

Tensor end_places(const Tensor& ids) { return ids.eq(49407).to(torch::kInt).argmax(1); }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorKind::io, "cannot read " + path.string());
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::span<const Group> groups() {
  static constexpr Group kGroups[] = {
      {"models", check_models},
      {"files", check_files},
      {"sigmas", check_sigmas},
      {"k-diffusion", check_sampling_kd},
      {"diffusers", check_sampling_diffusers},
      {"prompts", check_prompts},
      {"loras", check_loras},
      {"full size", check_full},
      {"real LoRAs", check_real},
  };
  return kGroups;
}

}  // namespace lorikeet::oracle
