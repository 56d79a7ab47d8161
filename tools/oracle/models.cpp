// Text encoders, U-Nets and autoencoders of the small models: golden/<model>_{text,text2,unet_N,vae}.safetensors.
#include "check.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

namespace {

void check_text(Check& check, const fs::path& path, const std::string& name) {
  const auto model = model_named(check, match(path, R"(([^_]+)_text2?\.safetensors)"));
  if (!model) return check.skip(name, "its model is not in the folder");
  const auto file = TensorFile::open(path);
  const bool second = path.filename().string().find("text2") != std::string::npos;
  const ClipTextModel& text = *model->text_encoders.at(second ? 1 : 0);
  const Tensor ids = read(*file, "input_ids", check.device());
  const Tensor end = end_places(ids);
  const Tensor embedded = text.embed(ids);
  const auto states = text.hidden_states(embedded);
  double worst = 0;
  for (const auto& [key, entry] : file->tensors()) {
    const Tensor expected = entry.view();
    Tensor actual;
    if (key.starts_with("hidden_states.")) {
      const auto k = static_cast<size_t>(std::stoul(key.substr(14)));
      if (k >= states.size()) continue;  // the single file's last, unused layer of SD2
      actual = states[k];
    } else if (key == "last_hidden_state") {
      actual = text.final_norm(states.back());
    } else if (key == "skip2_final_ln") {
      actual = text.final_norm(states.at(states.size() - 2));
    } else if (key == "skip3_final_ln") {
      actual = text.final_norm(states.at(states.size() - 3));
    } else if (key == "pooled_eot" && !text.config().projection) {
      actual = text.forward(embedded, end, 1).pooled;
    } else if (key == "pooled_projected") {
      actual = text.forward(embedded, end, 1).pooled;
    } else {
      continue;
    }
    worst = std::max(worst, relative_error(actual, expected));
  }
  check.result(name, worst, kNetworkBar);
}

void check_unet(Check& check, const fs::path& path, const std::string& name) {
  const auto model = model_named(check, match(path, R"(([^_]+)_unet_\d+\.safetensors)"));
  if (!model) return check.skip(name, "its model is not in the folder");
  const auto file = TensorFile::open(path);
  double worst_trace = 0;
  int traced = 0;
  model->unet->trace = [&](const std::string& module, const Tensor& output) {
    const std::string key = module.substr(5);  // without "unet."
    if (!file->contains("trace." + key)) return;
    ++traced;
    worst_trace = std::max(worst_trace, relative_error(output, file->read("trace." + key)));
  };
  const Tensor out = model->unet->forward(read_unet_input(*file, check.device()));
  model->unet->trace = nullptr;
  check.result(name, relative_error(out, file->read("out")), kNetworkBar);
  if (traced) check.result(name + " (" + std::to_string(traced) + " inner modules)", worst_trace, kNetworkBar);
}

void check_vae(Check& check, const fs::path& path, const std::string& name) {
  const auto model = model_named(check, match(path, R"(([^_]+)_vae\.safetensors)"));
  if (!model) return check.skip(name, "its model is not in the folder");
  const auto file = TensorFile::open(path);
  const auto encoding = model->vae->encode(read(*file, "image", check.device()));
  const Tensor decoded = model->vae->decode(read(*file, "latent_unscaled", check.device()));
  check.result(name + " mean", relative_error(encoding.mean, file->read("mean")), kNetworkBar);
  check.result(name + " logvar", relative_error(encoding.log_variance, file->read("logvar")), kNetworkBar);
  check.result(name + " decoded", relative_error(decoded, file->read("decoded")), kNetworkBar);
}

}  // namespace

void check_models(Check& check) {
  const std::pair<const char*, void (*)(Check&, const fs::path&, const std::string&)> kinds[] = {
      {R"(golden/[^_/]+_text2?\.safetensors)", check_text},
      {R"(golden/[^_/]+_unet_\d+\.safetensors)", check_unet},
      {R"(golden/[^_/]+_vae\.safetensors)", check_vae}};
  for (const auto& [pattern, run] : kinds) {
    for (const auto& path : check.files(pattern)) {
      const std::string name = path.stem().string();
      check.run(name, [&, run = run] { run(check, path, name); });
    }
  }
}

}  // namespace lorikeet::oracle
