// Contract tests over the route table: a new row is tested by being there.
#include "server/routes.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "scene.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using testing::shared_server;

bool is_a1111(std::string_view path) { return !starts_with(path, "/api/") && path != "/health" && path != "/metrics"; }

std::string target_of(const Route& route) {
  return replace_all(std::string(route.path), "{id}", starts_with(route.path, "/api/v1/library") ? "loras" : "999999");
}

TEST(Routes, EveryBodyThatIsNoJsonIs400WithAMessage) {
  for (const Route& route : routes()) {
    if (route.method == Method::get) continue;
    const auto answer = testing::call(shared_server().port(), std::string(name(route.method)), target_of(route), "{\"a\": ");
    EXPECT_EQ(answer.status, 400) << route.path;
    const json body = answer.json();
    EXPECT_FALSE(body.at(is_a1111(route.path) ? "detail" : "message").get<std::string>().empty()) << route.path;
    EXPECT_TRUE(body.contains("error")) << route.path;
  }
}

TEST(Routes, EveryBodyThatIsDescribedRefusesAnotherTypeThanAnObject) {
  for (const Route& route : routes()) {
    if (!route.body) continue;
    const auto answer = shared_server().post(target_of(route), json::array({1, 2}));
    EXPECT_GE(answer.status, 400) << route.path << answer.body;
    EXPECT_LT(answer.status, 500) << route.path << answer.body;
  }
}

TEST(Routes, OurBodiesNameTheMemberThatIsNotKnown) {
  for (const Route& route : routes()) {
    if (!route.body || is_a1111(route.path)) continue;
    json body{{"no_such_member", 1}};
    // What must be there comes before what must not.
    const json schema = route.body();
    if (schema.contains("required"))
      for (const json& member : schema["required"])
        body[member.get<std::string>()] = member == "priority"  ? json(1)
                                          : member == "kind"    ? json("generate")
                                          : member == "request" ? json::object()
                                                                : json("x");
    const auto answer = shared_server().post(target_of(route) + "?name=tiny-style&file=a.png", body);
    EXPECT_EQ(answer.status, 400) << route.path << answer.body;
    EXPECT_NE(answer.body.find("no_such_member"), std::string::npos) << route.path << answer.body;
  }
}

TEST(Routes, EveryRouteIsInTheOpenApiText) {
  const json text = shared_server().get("/api/v1/openapi.json").json();
  EXPECT_EQ(text.at("openapi"), "3.1.0");
  for (const Route& route : routes()) {
    const json& path = text.at("paths").at(std::string(route.path));
    EXPECT_TRUE(path.contains(route.method == Method::get ? "get" : route.method == Method::post ? "post" : "delete")) << route.path;
  }
  const json& prompt = text["paths"]["/sdapi/v1/txt2img"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"];
  EXPECT_TRUE(prompt.contains("cfg_scale"));
  EXPECT_TRUE(prompt.contains("override_settings"));
}

TEST(Routes, AnUnknownPathIs404AndAnotherMethodIs405) {
  EXPECT_EQ(shared_server().get("/api/v1/nothing").status, 404);
  const auto a1111 = shared_server().get("/sdapi/v1/nothing");
  EXPECT_EQ(a1111.status, 404);
  EXPECT_EQ(a1111.json().at("detail"), "Not Found");
  const auto method = shared_server().get("/sdapi/v1/txt2img");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.headers.at("allow"), "POST");
  EXPECT_EQ(testing::call(shared_server().port(), "PUT", "/api/v1/status").status, 405);
}

TEST(Routes, StatusSchemaHealthAndMetricsTellWhatThereIs) {
  const json status = shared_server().get("/api/v1/status").json();
  EXPECT_EQ(status.at("checkpoint").at("name"), "tiny");
  EXPECT_EQ(status.at("device"), "cpu");
  const json schema = shared_server().get("/api/v1/schema").json();
  const auto has = [](const json& fields, const std::string& name) {
    return std::ranges::any_of(fields,
                               [&](const json& field) { return field.at("name") == name && !field.at("help").get<std::string>().empty(); });
  };
  EXPECT_TRUE(has(schema.at("generate"), "cfg_scale"));
  EXPECT_TRUE(has(schema.at("train"), "rank"));
  EXPECT_FALSE(has(schema.at("train"), "run_dir"));  // the server's own business
  EXPECT_EQ(shared_server().get("/health").json().at("status"), "ok");
  EXPECT_NE(shared_server().get("/metrics").body.find("lorikeet_http_requests_total{status=\"2xx\"}"), std::string::npos);
}

TEST(Routes, JsonThatIsNestedTooDeeplyIsRefused) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  const auto answer = testing::call(shared_server().port(), "POST", "/api/v1/jobs", deep);
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.json().at("message").get<std::string>().find("deeply"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
