#include "prompt/extra_networks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "prompt/lora_tag.h"
#include "prompt/golden.h"

namespace lorikeet {

namespace {
// The golden file lists the tags by type, in the order in which the types first appear.
std::vector<ExtraNetworkTag> by_type(const std::vector<ExtraNetworkTag>& tags) {
  std::vector<std::string> types;
  for (const auto& tag : tags)
    if (std::find(types.begin(), types.end(), tag.type) == types.end()) types.push_back(tag.type);
  std::vector<ExtraNetworkTag> sorted;
  for (const auto& type : types)
    for (const auto& tag : tags)
      if (tag.type == type) sorted.push_back(tag);
  return sorted;
}

double number(const nlohmann::json& value) {
  if (!value.is_string()) return value.get<double>();
  return value == "nan" ? std::nan("") : value == "inf" ? INFINITY : -INFINITY;
}

void expect_multiplier(double found, const nlohmann::json& wanted) {
  const double value = number(wanted);
  if (std::isnan(value)) {
    EXPECT_TRUE(std::isnan(found));
  } else {
    EXPECT_EQ(found, value);
  }
}

// The webui passes over arguments that it does not know; Lorikeet refuses them.
ExtraNetworkTag known_part(ExtraNetworkTag tag) {
  const auto known = lora_arguments();
  const auto removed = std::erase_if(tag.named, [&](const auto& argument) { return std::ranges::find(known, argument.first) == known.end(); });
  if (removed > 0) {
    ExtraNetworkTag whole = tag;
    whole.named["foo"] = "bar";
    EXPECT_THROW(parse_lora_tag(whole), Error);
  }
  return tag;
}

void expect_activation(const std::vector<ExtraNetworkTag>& tags, const nlohmann::json& wanted) {
  std::vector<LoraTag> loras;
  for (const auto& tag : tags)
    if (tag.type == "lora") loras.push_back(parse_lora_tag(known_part(tag)));  // the golden file was made without the lyco extension
  ASSERT_EQ(loras.size(), wanted.size());
  for (size_t i = 0; i < loras.size(); ++i) {
    EXPECT_EQ(loras[i].name, wanted[i].at("name").get<std::string>());
    expect_multiplier(loras[i].te.first(), wanted[i].at("te"));
    expect_multiplier(loras[i].unet.first(), wanted[i].at("unet"));
    EXPECT_EQ(loras[i].dyn.has_value(), !wanted[i].at("dyn").is_null());
    if (loras[i].dyn) {
      EXPECT_EQ(*loras[i].dyn, wanted[i].at("dyn").get<int64_t>());
    }
  }
}
}  // namespace

TEST(ExtraNetworks, FindsAndReadsTheTagsOfTheWebui) {
  for (const auto& one : read_golden("extra_networks.json").at("cases")) {
    const auto input = one.at("input").get<std::string>();
    SCOPED_TRACE(input);
    const auto prompt = take_extra_networks(input);
    EXPECT_EQ(prompt.text, one.at("prompt").get<std::string>());
    const auto tags = by_type(prompt.tags);
    ASSERT_EQ(tags.size(), one.at("networks").size());
    for (size_t i = 0; i < tags.size(); ++i) {
      const auto& wanted = one["networks"][i];
      EXPECT_EQ(tags[i].type, wanted.at("type").get<std::string>());
      EXPECT_EQ(tags[i].items, wanted.at("items").get<std::vector<std::string>>());
      EXPECT_EQ(tags[i].positional, wanted.at("positional").get<std::vector<std::string>>());
      EXPECT_EQ(tags[i].named, (wanted.at("named").get<std::map<std::string, std::string>>()));
    }
    if (one.contains("lora_activation_error")) {
      EXPECT_THROW(expect_activation(tags, {}), Error);
    } else {
      expect_activation(tags, one.at("lora_activation"));
    }
  }
}

TEST(ExtraNetworks, ALycoTagIsALora) {
  const auto prompt = take_extra_networks("<lyco:fox:0.5:te=2><hypernet:x>");
  ASSERT_EQ(prompt.tags.size(), 2U);
  EXPECT_TRUE(prompt.tags[0].is_lora());
  EXPECT_FALSE(prompt.tags[1].is_lora());
  EXPECT_EQ(parse_lora_tag(prompt.tags[0]).unet, 2);
}

TEST(ExtraNetworks, ManyUnclosedTagsTakeLinearTime) {
  std::string prompt;
  for (int i = 0; i < 30'000; ++i) prompt += "<a:";
  EXPECT_TRUE(take_extra_networks(prompt).tags.empty());
  EXPECT_EQ(take_extra_networks(prompt + ">").tags.size(), 1U);
}

}  // namespace lorikeet
