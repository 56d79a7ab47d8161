// oracle_check DIR: runs every case found under DIR against Lorikeet and reports the largest relative error of each.
// A group of cases is one file here and one line in groups(); a group looks at what lies in DIR, so that other seeds, shapes
// and prompts in the same layout are checked as well.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/torch.h"
#include "io/tensor_file.h"
#include "model/spec.h"

namespace lorikeet::oracle {

// Largest |a - b| over largest |b|; infinite when shapes differ or a is not finite.
double relative_error(const Tensor& actual, const Tensor& expected);

class Check {
 public:
  Check(std::filesystem::path root, Device device);

  const std::filesystem::path& root() const { return root_; }
  Device device() const { return device_; }

  // Files below root whose path relative to it matches the regular expression; marks them as read.
  std::vector<std::filesystem::path> files(const std::string& pattern);
  void mark_read(const std::filesystem::path& file);
  std::vector<std::string> unread() const;  // files that no case has looked at

  // One line of the report. `error` is relative; the case passes when it is at most `bar`.
  void result(const std::string& name, double error, double bar);
  void fail(const std::string& name, const std::string& why);
  // Runs a case; an exception is its failure.
  void run(const std::string& name, const std::function<void()>& work);

  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  std::filesystem::path root_;
  Device device_;
  std::set<std::filesystem::path> read_;
  int passed_ = 0, failed_ = 0;
};

// A tiny (or full-size) model of the folder, in float32.
struct Model {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelSpec spec;
  LayerMap layers;
  std::vector<std::unique_ptr<ClipTextModel>> text_encoders;
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Vae> vae;
};
std::shared_ptr<Model> load_model(const std::filesystem::path& checkpoint, Device device);
// The model called `name` in the folder ("sd1": sd1/sd1.safetensors or .ckpt); kept for later cases. Null when there is none.
std::shared_ptr<Model> model_named(Check& check, const std::string& name);

struct Group {
  std::string_view name;
  void (*run)(Check&);
};
std::span<const Group> groups();

void check_models(Check&);        // models.cpp: text encoders, U-Nets, autoencoders

}  // namespace lorikeet::oracle
