// LoRA files of every kind and spelling on the small models: what they add to each weight, and what the networks then answer, merged
// and at run time. lora/index.json lists the cases; see its "how".
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "check.h"
#include "lora/apply.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {


using Outputs = std::map<std::string, Tensor>;  // "te", "te2", "te2_pooled", "unet"

// Of the networks as they are, for the shared inputs.
Outputs outputs_of(const Model& model, const TensorFile& inputs, Device device) {
  Outputs outputs;
  for (size_t i = 0; i < model.text_encoders.size(); ++i) {
    const ClipTextModel& text = *model.text_encoders[i];
    const std::string number = i == 0 ? "" : std::to_string(i + 1);
    const Tensor ids = read(inputs, number.empty() ? "input_ids" : "input_ids_" + number, device);
    const ClipOutput out = text.forward(text.embed(ids), end_places(ids), text.config().skip);
    outputs["te" + number] = out.hidden;
    outputs["te" + number + "_pooled"] = out.pooled;
  }
  outputs["unet"] = model.unet->forward(read_unet_input(inputs, device));
  return outputs;
}

std::string component_of(const std::string& part) {
  return part == "unet" ? "unet" : "text_encoder" + (part == "te" ? "" : "_" + part.substr(2));
}

class LoraCheck {
 public:
  LoraCheck(Check& check, const fs::path& index) : check_(check), folder_(index.parent_path()), index_(json::parse(read_text(index))) {}

  void run() {
    for (const auto& path : check_.files(R"(lora/base_.*\.safetensors)")) {
      check_.run(path.stem().string(), [&] { base(path); });
    }
    for (const auto& one : index_.at("cases")) {
      const std::string name = one.at("case");
      check_.run(name, [&] { single(one, name); });
    }
    if (index_.contains("combos")) {
      for (const auto& one : index_["combos"]) {
        const std::string name = match(one.at("expected").get<std::string>(), R"((.*)\.expected\.safetensors)");
        check_.run(name, [&] { combination(one, name); });
      }
    }
    if (!index_.contains("edges")) return;
    for (const auto& [name, what] : index_["edges"].items()) {
      check_.run(name, [&, name = name] { defective(name); });
    }
  }

 private:
  std::shared_ptr<const TensorFile> open(const std::string& name) {
    check_.mark_read(folder_ / name);
    return TensorFile::open(folder_ / name);
  }

  std::shared_ptr<const TensorFile> inputs(const std::string& model) { return open("inputs_" + model + ".safetensors"); }

  std::shared_ptr<const LoadedLora> load(const std::string& file, const Model& model) {
    const fs::path path = folder_ / file;
    check_.mark_read(path);
    const fs::path config = folder_ / (path.stem().string() + ".adapter_config.json");
    if (fs::exists(config)) check_.mark_read(config);
    return load_lora(*LoraFile::open(path), model.layers, model.spec.family);
  }

  std::string file_of_case(const std::string& name) const {
    for (const auto& one : index_.at("cases")) {
      if (one.at("case") == name) return one.at("file");
    }
    throw Error(ErrorKind::bad_input, "index.json has no case " + name);
  }

  void base(const fs::path& path) {
    const std::string name = match(path, R"(base_(.*)\.safetensors)");
    const auto model = model_named(check_, name);
    if (!model) return check_.skip("base " + name, "its model is not in the folder");
    const auto expected = TensorFile::open(path);
    const Outputs found = outputs_of(*model, *inputs(name), check_.device());
    double worst = 0;
    for (const auto& [key, entry] : expected->tensors()) worst = std::max(worst, relative_error(found.at(key), expected->read(key)));
    check_.result("base " + name + " (no LoRA)", worst, kNetworkBar);
  }

  void deltas(const std::string& name, const TensorFile& expected, const LoadedLora& lora, const Model& model) {
    double worst = 0;
    int count = 0;
    for (const auto& [key, entry] : expected.tensors()) {
      if (!starts_with(key, "delta.")) continue;
      const size_t colon = key.find(':'), dot = key.rfind('.');
      const std::string path = component_of(key.substr(6, colon - 6)) + key.substr(colon, dot - colon).replace(0, 1, ".");
      const Layer& layer = *model.layers.at(path);
      const MergedLayer merged = merged_layer(layer, {{lora.adapters.at(path), 1.0}});
      const bool bias = key.substr(dot) == ".bias";
      const Tensor& before = bias ? layer.base_bias() : layer.base_weight();
      const Tensor after = bias ? merged.bias : merged.weight, wanted = expected.read(key);
      const Tensor delta = before.defined() ? after - before.to(torch::kFloat) : after;
      worst = std::max(worst, relative_error(delta.reshape(wanted.sizes()), wanted));
      ++count;
    }
    if (count) check_.result(name + " deltas (" + std::to_string(count) + ")", worst, kDeltaBar);
  }

  // Both ways against the expected outputs, `key(part)` of each; then the base again.
  void outputs(const std::string& name, const Model& model, const std::string& model_name, const std::map<std::string, LoraSet>& sets,
               const TensorFile& expected) {
    const auto in = inputs(model_name);
    const Outputs base = outputs_of(model, *in, check_.device());
    LoraApplier applier(model.layers);
    std::map<bool, double> worst{{true, 0}, {false, 0}};
    int count = 0;
    for (const auto& [label, set] : sets) {
      for (const bool merged : {true, false}) {
        merged ? applier.merge(set) : applier.attach({&set, 1});
        const Outputs found = outputs_of(model, *in, check_.device());
        for (const auto& [part, tensor] : found) {
          const std::string key = label.empty() ? part : part + "." + label;
          if (!expected.contains(key)) continue;
          worst[merged] = std::max(worst[merged], relative_error(tensor, expected.read(key)));
          count += merged;
        }
      }
    }
    applier.clear();
    const std::string outputs = " (" + std::to_string(count) + " outputs)";
    if (count == 0) return check_.fail(name, "no expected output was compared");
    check_.result(name + " merged" + outputs, worst[true], kNetworkBar);
    check_.result(name + " at run time" + outputs, worst[false], kNetworkBar);
    bool same = true;
    for (const auto& [part, tensor] : outputs_of(model, *in, check_.device()))
      same = same && (!tensor.defined() || tensor.equal(base.at(part)));
    check_.exact(name + " cleared", same, "the outputs after clear() are not the base's, bit for bit");
  }

  void single(const json& one, const std::string& name) {
    const std::string model_name = one.at("model");
    const auto expected = open(one.at("expected"));
    const auto model = model_named(check_, model_name);
    if (!model) return check_.skip(name, "its model is not in the folder");
    const auto lora = load(one.at("file"), *model);
    const bool whole =
        lora->report.unmatched.empty() && lora->report.unused.empty() && lora->report.matched == one.value("modules", lora->report.matched);
    check_.exact(name + " modules", whole, "not every module of the file found its layer");
    deltas(name, *expected, *lora, *model);
    std::map<std::string, LoraSet> sets;
    for (const double multiplier : one.at("multipliers")) sets["m" + format_number(multiplier)] = {{lora, multiplier, multiplier}};
    for (const auto& extra : one.value("extra_runs", json::array())) {
      LoraUse use{lora, extra.at("te"), extra.at("unet")};
      if (!extra.at("dyn").is_null()) use.dyn = extra.at("dyn").get<int64_t>();
      sets[extra.at("label")] = {use};
    }
    every_output_has_a_set(name, *expected, sets);
    outputs(name, *model, model_name, sets, *expected);
  }

  void every_output_has_a_set(const std::string& name, const TensorFile& expected, const std::map<std::string, LoraSet>& sets) {
    for (const auto& [key, entry] : expected.tensors()) {
      if (starts_with(key, "delta.")) continue;
      const std::string label = key.substr(key.find('.') + 1);
      if (!sets.contains(label)) check_.fail(name, "the index does not say what " + key + " was made with");
    }
  }

  void combination(const json& one, const std::string& name) {
    const auto expected = open(one.at("expected"));
    const auto model = model_named(check_, one.at("model"));
    if (!model) return check_.skip(name, "its model is not in the folder");
    LoraSet set;
    for (const auto& use : one.at("loras")) set.push_back({load(file_of_case(use.at("case")), *model), use.at("te"), use.at("unet")});
    outputs(name, *model, one.at("model"), {{"", set}}, *expected);
  }

  // A defective file gives an Error that says why, or a report of what did not fit; never a crash, never silence.
  void defective(const std::string& name) {
    const auto model = model_named(check_, "sd1");
    check_.mark_read(folder_ / (name + ".safetensors"));
    if (!model) return check_.skip(name, "its model is not in the folder");
    std::string said;
    try {
      const auto report = load(name + ".safetensors", *model)->report;
      for (const auto& list : {report.unmatched, report.unused}) said += join(list, ", ") + " ";
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::internal) said = error.message();
    }
    check_.exact(name, !trim(said).empty(), "neither an error nor a report");
    if (!trim(said).empty()) std::printf("     %s: %s\n", name.c_str(), said.c_str());
    if (name == "edge_unknown_keys") unknown_keys_change_nothing(name, *model);
  }

  void unknown_keys_change_nothing(const std::string& name, const Model& model) {
    const auto lora = load(name + ".safetensors", model);
    const std::string expected = "a6_kohya_1x1conv_as_2d_sd1.expected.safetensors";
    if (fs::exists(folder_ / expected)) outputs(name, model, "sd1", {{"m1", {{lora}}}}, *open(expected));
  }

  Check& check_;
  fs::path folder_;
  json index_;
};

}  // namespace

void check_loras(Check& check) {
  for (const auto& path : check.files(R"(lora/index\.json)")) LoraCheck(check, path).run();
}

}  // namespace lorikeet::oracle
