// A1111's options: the settings of /sdapi/v1/options that clients change, kept over restarts in the data folder. One row each.
#pragma once
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct SettingRow {
  std::string_view name;
  std::string_view default_json;  // its type is the setting's
  bool acts;                      // false: kept and told, but nothing here reads it
};
std::span<const SettingRow> setting_rows();

class Settings {
 public:
  explicit Settings(std::filesystem::path file);  // a damaged one is put aside

  nlohmann::json all() const;
  // Error{bad_input}: a wrong type. -> what has no effect here, for people. Written at once.
  std::vector<std::string> change(const nlohmann::json& changes);
  std::string text(std::string_view name) const;

 private:
  std::filesystem::path file_;
  mutable std::mutex mutex_;
  nlohmann::json values_;
};

// `values` with `changes` over them, checked as change() does; nothing is kept.
nlohmann::json with_changes(nlohmann::json values, const nlohmann::json& changes, std::vector<std::string>& warnings);

}  // namespace lorikeet
