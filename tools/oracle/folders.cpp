// diffusers folders hold the very same model as the single file beside them: every parameter bit for bit, and the same answers.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "files.h"
#include "prompt/chunks.h"
#include "prompt/tokenizer.h"
#include "sampling/noise_schedule.h"
#include "sampling/prediction.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Shapes may differ where one of them writes a linear as a 1×1 convolution.
bool same_values(const Tensor& found, const Tensor& wanted) {
  return found.defined() && found.numel() == wanted.numel() && found.scalar_type() == wanted.scalar_type() &&
         found.reshape(wanted.sizes()).equal(wanted);
}

void check_parameters(Check& check, const std::string& model, const fs::path& weights, const Checkpoint& single, const Checkpoint* folder) {
  const std::string component = weights.parent_path().filename().string();
  const auto file = TensorFile::open(weights);
  Tally tally;
  for (const auto& [key, entry] : file->tensors()) {
    const std::string parameter = component + "." + key;
    if (ends_with(key, "position_ids")) continue;  // a counter that nobody needs
    const Tensor wanted = file->read(key);
    tally.add(parameter, same_values(single.find(parameter), wanted), "of the single file differs from the folder's");
    if (folder) tally.add(parameter, same_values(folder->find(parameter), wanted), "is not found in the folder");
  }
  check.exact(model + "/diffusers " + component + " parameters", tally);
}

// The folder, as a model, answers as the single file does: its configuration was read the same.
void check_answers(Check& check, const std::string& model, const fs::path& folder) {
  const auto loaded = load_model(folder, check.device());
  for (const auto& path : check.files("golden/" + model + R"(_unet_0\.safetensors)")) {
    const auto file = TensorFile::open(path);
    const Tensor out = loaded->unet->forward(read_unet_input(*file, check.device()));
    check.result(model + "/diffusers " + path.stem().string(), relative_error(out, file->read("out")), kNetworkBar);
  }
  for (size_t i = 0; i < loaded->text_encoders.size(); ++i) {
    for (const auto& path : check.files("golden/" + model + "_text" + (i ? std::to_string(i + 1) : "") + R"(\.safetensors)")) {
      const auto file = TensorFile::open(path);
      const ClipTextModel& text = *loaded->text_encoders[i];
      const auto states = text.hidden_states(text.embed(read(*file, "input_ids", check.device())));
      check.result(model + "/diffusers " + path.stem().string(),
                   relative_error(text.final_norm(states.back()), file->read("last_hidden_state")), kNetworkBar);
    }
  }
}

// What the folder's small files say of scheduler and tokenizers is what Lorikeet assumes of the model.
void check_settings(Check& check, const std::string& model, const fs::path& folder, const ModelSpec& spec) {
  for (const auto& path : check.files(model + "/diffusers/scheduler/scheduler_config.json")) {
    const auto config = json::parse(read_text(path));
    const NoiseSchedule noise = scaled_linear_schedule(config.at("beta_start"), config.at("beta_end"), config.at("num_train_timesteps"));
    check.exact(model + " scheduler betas",
                noise.sigmas == scaled_linear_schedule().sigmas && config.at("beta_schedule") == "scaled_linear");
    const std::string prediction = config.at("prediction_type");
    check.exact(model + " scheduler prediction", &find_prediction(prediction) == &find_prediction(spec.prediction), "is " + prediction);
  }
  for (size_t i = 0; i < spec.text_encoders.size(); ++i) {
    const std::string tokenizer = model + "/diffusers/tokenizer" + (i ? "_" + std::to_string(i + 1) : "");
    for (const auto& path : check.files(tokenizer + "/special_tokens_map.json")) {
      const auto padding = json::parse(read_text(path)).at("pad_token");
      const std::string text = padding.is_object() ? padding.at("content") : padding;
      const int64_t id = text == "<|endoftext|>" ? kEndToken : tokenize(text).at(0);
      // "!" stands for id 0, the symbol without an end of word.
      check.exact(tokenizer + " padding", spec.text_encoders[i].padding_id == (text == "!" ? 0 : id), "is " + text);
    }
    for (const auto& path : check.files(tokenizer + "/added_tokens.json")) {
      const auto added = json::parse(read_text(path));
      Tally tally;
      // "!" is listed under the id 0, where it ends no word.
      for (const auto& [text, id] : added.items()) tally.add(text, token_text(id) == text, "has another id");
      check.exact(tokenizer + " added tokens", tally);
    }
    check.files(tokenizer + "/tokenizer_config.json");
  }
}

void check_folder(Check& check, const fs::path& folder) {
  const std::string model = folder.parent_path().filename().string();
  check.files(model + R"(/diffusers/(model_index\.json|[^/]+/config\.json))");
  const auto loaded = model_named(check, model);
  if (!loaded || !fs::is_regular_file(loaded->checkpoint->path()))
    return check.skip(model + "/diffusers", "no single file to compare with");
  const bool whole = fs::exists(folder / "model_index.json");
  const auto opened = whole ? Checkpoint::open(folder) : nullptr;
  for (const auto& weights : check.files(model + R"(/diffusers/[^/]+/[^/]+\.safetensors)")) {
    check.run(model, [&] { check_parameters(check, model, weights, *loaded->checkpoint, opened.get()); });
  }
  check_settings(check, model, folder, loaded->spec);
  if (!whole) return;
  const ModelSpec spec = recognise_model(*opened);
  check.exact(model + " family", spec.family == loaded->spec.family && spec.prediction == loaded->spec.prediction,
              "is recognised as another model");
  check_answers(check, model, folder);
}

}  // namespace

void check_diffusers_folders(Check& check) {
  for (const auto& model : fs::directory_iterator(check.root())) {
    const fs::path folder = model.path() / "diffusers";
    if (fs::is_directory(folder)) check.run(folder.string(), [&] { check_folder(check, folder); });
  }
}

}  // namespace lorikeet::oracle
