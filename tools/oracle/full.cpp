// Full-size models, sd15_full/: the names of all their parameters and LoRA modules; with --full the answers of the pseudo-random SD1.5.
#include "full.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "lora/apply.h"
#include "lora/naming.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

int64_t product(const Shape& shape) {
  int64_t numel = 1;
  for (const int64_t size : shape) numel *= size;
  return numel;
}

// In diffusers' names: of every layer, and the bare position embeddings.
std::map<std::string, int64_t> parameters_of(const Skeleton& skeleton) {
  std::map<std::string, int64_t> parameters;
  for (const auto& [path, layer] : skeleton.layers) {
    parameters[path + ".weight"] = layer->base_weight().numel();
    if (layer->base_bias().defined()) parameters[path + ".bias"] = layer->base_bias().numel();
  }
  for (const auto& text : skeleton.spec.text_encoders) {
    parameters[text.component + ".text_model.embeddings.position_embedding.weight"] = text.positions * text.width;
  }
  return parameters;
}

// What single files hold and no model needs: CLIP's temperature, SD2's last layer and projection.
bool is_unused(const std::string& key, const ModelSpec& spec) {
  if (ends_with(key, "logit_scale") || ends_with(key, "position_ids")) return true;
  const ClipConfig& last = spec.text_encoders.back();
  if (ends_with(key, ".text_projection") && !last.projection) return true;
  return key.find(".resblocks." + std::to_string(last.layers) + ".") != std::string::npos;
}

// Every key is spelled by exactly one parameter (three for a fused projection), with as many numbers.
void check_keys(Check& check, const fs::path& path, const json& keys, const Skeleton& skeleton) {
  Tally tally;
  std::map<std::string, int64_t> spelled;  // numbers that parameters take from the key
  for (const auto& [parameter, numel] : parameters_of(skeleton)) {
    int found = 0;
    for (const auto& [key, part] : single_file_names(parameter, skeleton.spec.family)) {
      if (!keys.contains(key)) continue;
      spelled[key] += numel;
      ++found;
    }
    tally.add(parameter, found == 1, "is spelled by " + std::to_string(found) + " keys");
  }
  for (const auto& [key, shape] : keys.items()) {
    const auto entry = spelled.find(key);
    const bool good = entry == spelled.end() ? is_unused(key, skeleton.spec) : entry->second == product(shape.get<Shape>());
    tally.add(key, good, entry == spelled.end() ? "no layer takes it" : "layers of other sizes take it");
  }
  check.exact(path.stem().string() + ", " + std::to_string(skeleton.layers.size()) + " layers of a " + skeleton.spec.label, tally);
}

// "key" or "key[a:b]": rows a … b - 1 of it.
struct Rows {
  std::string key;
  int64_t first = 0;
};
Rows rows_of(const std::string& text) {
  const size_t bracket = text.find('[');
  if (bracket == std::string::npos) return {text, 0};
  return {text.substr(0, bracket), std::stoll(text.substr(bracket + 1))};
}

void add_lora_module(Tally& tally, const json& module, const Skeleton& skeleton, const LoraKeyTable& table) {
  const std::string kohya = module.at(0);
  const auto places = table.find(kohya);
  if (places.size() != 1) return tally.add(kohya, false, "stands for " + std::to_string(places.size()) + " layers");
  const Tensor& weight = skeleton.layers.at(places[0].path)->base_weight();
  const Rows rows = rows_of(module.at(1));
  bool found = false;
  for (const auto& [key, part] : single_file_names(places[0].path + ".weight", skeleton.spec.family)) {
    found = found || (key == rows.key && std::max(part, 0) * weight.size(0) == rows.first);
  }
  tally.add(kohya, found && weight.numel() == product(module.at(2).get<Shape>()), "stands for " + places[0].path);
}

void check_names(Check& check, const fs::path& path) {
  const json keys = json::parse(read_text(path));
  const Skeleton skeleton = skeleton_of_keys(keys);
  check_keys(check, path, keys, skeleton);
  const std::string model = match(path, R"((.*)_keys\.json)");
  const LoraKeyTable table(skeleton.layers);
  for (const auto& list : check.files("sd15_full/" + model + R"(_lora_modules\.json)")) {
    const auto modules = json::parse(read_text(list));
    Tally tally;
    for (const auto& module : modules) add_lora_module(tally, module, skeleton, table);
    check.exact(list.stem().string(), tally);
  }
}

class FullSize {
 public:
  FullSize(Check& check, const fs::path& path, const fs::path& keys, const fs::path& modules)
      : check_(check),
        name_(path.stem().string()),
        file_(TensorFile::open(path)),
        seed_(static_cast<uint64_t>(number("seed", 0))),
        weights_(json::parse(read_text(keys)).get<std::map<std::string, Shape>>(), seed_) {
    // gen_sd15.py --lora 16 --alpha 8
    write_generated_lora(lora_file_.path, json::parse(read_text(modules)), static_cast<int64_t>(number("lora_rank", 16)),
                         number("lora_alpha", 8), seed_);
    lora_ = LoraFile::open(lora_file_.path);
    multiplier_ = number("lora_multiplier", 0.8);
  }

  // One network at a time, for the memory's sake.
  void run() {
    text();
    unet();
    vae();
  }

 private:
  double number(const std::string& key, double missing) const {
    const auto found = file_->metadata().find(key);
    return found == file_->metadata().end() ? missing : parse_double(found->second).value_or(missing);
  }
  Tensor input(const std::string& name, const Shape& shape) const {
    return generated_input(name, shape, 0, std::sqrt(3.0), seed_).to(check_.device());
  }
  void compare(const std::string& key, const Tensor& found) {
    if (file_->contains(key)) check_.result(name_ + " " + key, relative_error(found, file_->read(key)), kNetworkBar);
  }
  Weights weights(LayerMap& layers) const { return {weights_, layers, Compute{check_.device(), torch::kFloat}}; }

  // `again` with the LoRA merged, then at run time.
  void with_lora(const LayerMap& layers, const std::function<Tensor()>& again, const std::string& key) {
    if (!file_->contains(key)) return;
    const LoraSet set{{load_lora(*lora_, layers, "sd1"), multiplier_, multiplier_}};
    LoraApplier applier(layers);
    applier.merge(set);
    check_.result(name_ + " " + key + " merged", relative_error(again(), file_->read(key)), kNetworkBar);
    applier.attach({&set, 1});
    check_.result(name_ + " " + key + " at run time", relative_error(again(), file_->read(key)), kNetworkBar);
  }

  void text() {
    LayerMap layers;
    const ClipTextModel model(ClipConfig{}, weights(layers) / "text_encoder");
    const Tensor ids = read(*file_, "input_ids", check_.device());
    const auto encoded = [&](const Tensor& rows, int skip) { return model.forward(model.embed(rows), end_places(rows), skip).hidden; };
    compare("text", encoded(ids, 1));
    compare("text_clipskip2", encoded(ids.slice(0, 0, 1), 2));
    with_lora(
        layers, [&] { return encoded(ids.slice(0, 0, 1), 1); }, "text_lora");
  }

  void unet() {
    LayerMap layers;
    const UNet model(UNetConfig{}, weights(layers) / "unet");
    UNetInput in;
    in.x = input("input.latent", {1, 4, 32, 32});
    in.timestep = read(*file_, "timestep", check_.device()).to(torch::kFloat);
    in.context = read(*file_, "text", check_.device()).slice(0, 0, 1);
    compare("unet_out", model.forward(in));
    if (file_->contains("text_lora")) in.context = read(*file_, "text_lora", check_.device());
    with_lora(
        layers, [&] { return model.forward(in); }, "unet_out_lora");
  }

  void vae() {
    LayerMap layers;
    const Vae model(VaeConfig{}, weights(layers) / "vae");
    compare("vae_decoded", model.decode(input("input.vae_latent", {1, 4, 16, 24}) * 4));
    const auto encoding = model.encode(input("input.image", {1, 3, 64, 96}) / std::sqrt(3.0));
    compare("vae_mean", encoding.mean);
    compare("vae_logvar", encoding.log_variance);
  }

  Check& check_;
  std::string name_;
  std::shared_ptr<const TensorFile> file_;
  uint64_t seed_;
  GeneratedWeights weights_;
  TemporaryFile lora_file_{"lora"};
  std::shared_ptr<const LoraFile> lora_;
  double multiplier_;
};

}  // namespace

void check_full(Check& check) {
  for (const auto& path : check.files(R"(sd15_full/[^/]+_keys\.json)")) check.run(path.stem().string(), [&] { check_names(check, path); });
  for (const auto& path : check.files(R"(sd15_full/golden_sd15_.*\.safetensors)")) {
    const fs::path keys = path.parent_path() / "sd15_keys.json", modules = path.parent_path() / "sd15_lora_modules.json";
    if (!check.full()) {
      check.skip(path.stem().string(), "use --full");
    } else {
      check.run(path.stem().string(), [&] { FullSize(check, path, keys, modules).run(); });
    }
  }
}

}  // namespace lorikeet::oracle
