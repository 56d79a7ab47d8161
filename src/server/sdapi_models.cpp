// A1111's lists: samplers, models, LoRAs, embeddings, styles; what it has and this server lacks are empty lists.
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "generate/request.h"
#include "server/app.h"
#include "server/model_facts.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/routes.h"
#include "server/sdapi_titles.h"
#include "server/styles.h"

namespace lorikeet {

namespace sdapi_models {
namespace {
using nlohmann::json;

HttpResponse nothing(App&, const HttpRequest&) { return json_response(json::array()); }

HttpResponse list_samplers(App&, const HttpRequest&) { return json_response(sdapi_samplers()); }
HttpResponse list_schedulers(App&, const HttpRequest&) { return json_response(sdapi_schedulers()); }

HttpResponse list_upscalers(App&, const HttpRequest&) {
  json list = json::array();
  for (const char* name : {"None", "Lanczos", "Nearest"})
    list.push_back({{"name", name}, {"model_name", nullptr}, {"model_path", nullptr}, {"model_url", nullptr}, {"scale", 4}});
  return json_response(list);
}

HttpResponse list_latent_upscalers(App&, const HttpRequest&) {
  json list = json::array();
  for (const Choice& choice : choices(HrUpscaler{}))
    if (starts_with(choice.name, "latent")) list.push_back({{"name", choice.label}});
  return json_response(list);
}

HttpResponse list_checkpoints(App& app, const HttpRequest&) {
  json list = json::array();
  for (const LibraryCard& card : all_cards(app, ModelKind::checkpoint)) {
    const std::string path = path_in_folder(card);
    list.push_back({{"title", checkpoint_title(card)},
                    {"model_name", replace_all(path.substr(0, path.rfind('.')), "/", "_")},
                    {"hash", card.sha256.empty() ? json() : json(card.sha256.substr(0, 10))},
                    {"sha256", card.sha256.empty() ? json() : json(card.sha256)},
                    {"filename", path},
                    {"config", nullptr}});
  }
  return json_response(list);
}

HttpResponse list_vaes(App& app, const HttpRequest&) {
  json list = json::array();
  for (const LibraryCard& card : all_cards(app, ModelKind::vae))
    list.push_back({{"model_name", card.file_name}, {"filename", path_in_folder(card)}});
  return json_response(list);
}

HttpResponse list_loras(App& app, const HttpRequest&) {
  json list = json::array();
  for (const LibraryCard& card : all_cards(app, ModelKind::lora)) {
    const auto item = app.library.item(ModelKind::lora, card.name);
    list.push_back({{"name", card.name.substr(card.name.rfind('/') + 1)},
                    {"alias", card.alias},
                    {"path", path_in_folder(card)},
                    {"metadata", item ? json(item->metadata) : json::object()}});
  }
  return json_response(list);
}

HttpResponse list_embeddings(App& app, const HttpRequest&) {
  std::string family;
  try {
    if (const auto checkpoint = app.library.card(ModelKind::checkpoint, app.chosen_checkpoint())) family = checkpoint->family;
  } catch (const Error&) {  // no checkpoint: all are listed
  }
  json loaded = json::object(), skipped = json::object();
  for (const LibraryCard& card : all_cards(app, ModelKind::embedding)) {
    json entry{{"step", nullptr},
               {"sd_checkpoint", nullptr},
               {"sd_checkpoint_name", nullptr},
               {"shape", 0},
               {"vectors", card.vectors.value_or(0)}};
    try {
      const EmbeddingFacts facts = embedding_facts(app.library.path(ModelKind::embedding, card.name));
      entry["shape"] = facts.width;
      entry["vectors"] = facts.vectors;
      const bool other = !family.empty() && !card.family.empty() && family != card.family;
      (other ? skipped : loaded)[card.name.substr(card.name.rfind('/') + 1)] = entry;
    } catch (const Error&) {  // it cannot be read
      skipped[card.name.substr(card.name.rfind('/') + 1)] = entry;
    }
  }
  return json_response({{"loaded", loaded}, {"skipped", skipped}});
}

HttpResponse list_styles(App& app, const HttpRequest&) {
  json list = json::array();
  for (const Style& style : read_styles(app.options.data / "styles.csv"))
    list.push_back({{"name", style.name}, {"prompt", style.prompt}, {"negative_prompt", style.negative_prompt}});
  return json_response(list);
}

HttpResponse list_scripts(App&, const HttpRequest&) { return json_response({{"txt2img", json::array()}, {"img2img", json::array()}}); }

HttpResponse refresh(App& app, const HttpRequest&) {
  app.library.refresh();
  return json_response(nullptr);
}

[[noreturn]] void refuse_training(const char* what) {
  throw HttpError(422, "unsupported", std::string("this route makes no ") + what + " here",
                  "POST /api/v1/jobs with {\"kind\": \"train\", \"request\": {\"method\": \"textual_inversion\", …}} trains an embedding "
                  "from a data set");
}
HttpResponse create_embedding(App&, const HttpRequest&) { refuse_training("empty embedding"); }
HttpResponse train_embedding(App&, const HttpRequest&) { refuse_training("embedding"); }
HttpResponse hypernetwork(App&, const HttpRequest&) {
  throw HttpError(422, "unsupported", "there are no hypernetworks here",
                  "LoRAs have taken their place: POST /api/v1/jobs with {\"kind\": \"train\", …}");
}

constexpr Route kRoutes[] = {
    {Method::get, "/sdapi/v1/samplers", "The samplers.", list_samplers},
    {Method::get, "/sdapi/v1/schedulers", "The noise schedules.", list_schedulers},
    {Method::get, "/sdapi/v1/upscalers", "What enlarges finished pictures.", list_upscalers},
    {Method::get, "/sdapi/v1/latent-upscale-modes", "What enlarges latents in hires fix.", list_latent_upscalers},
    {Method::get, "/sdapi/v1/sd-models", "The checkpoints.", list_checkpoints},
    {Method::get, "/sdapi/v1/sd-vae", "The VAEs.", list_vaes},
    {Method::get, "/sdapi/v1/hypernetworks", "None.", nothing},
    {Method::get, "/sdapi/v1/face-restorers", "None.", nothing},
    {Method::get, "/sdapi/v1/realesrgan-models", "None.", nothing},
    {Method::get, "/sdapi/v1/prompt-styles", "The styles of styles.csv in the data folder.", list_styles},
    {Method::get, "/sdapi/v1/embeddings", "Embeddings that fit the checkpoint, and others.", list_embeddings},
    {Method::get, "/sdapi/v1/scripts", "None.", list_scripts},
    {Method::get, "/sdapi/v1/script-info", "None.", nothing},
    {Method::get, "/sdapi/v1/extensions", "None.", nothing},
    {Method::get, "/sdapi/v1/loras", "The LoRAs, with their metadata.", list_loras},
    {Method::post, "/sdapi/v1/refresh-loras", "Scans the models folders.", refresh},
    {Method::post, "/sdapi/v1/refresh-embeddings", "Scans the models folders.", refresh},
    {Method::post, "/sdapi/v1/refresh-checkpoints", "Scans the models folders.", refresh},
    {Method::post, "/sdapi/v1/refresh-vae", "Scans the models folders.", refresh},
    {Method::post, "/sdapi/v1/create/embedding", "An error here: see /api/v1/jobs.", create_embedding},
    {Method::post, "/sdapi/v1/create/hypernetwork", "An error here.", hypernetwork},
    {Method::post, "/sdapi/v1/train/embedding", "An error here: see /api/v1/jobs.", train_embedding},
    {Method::post, "/sdapi/v1/train/hypernetwork", "An error here.", hypernetwork},
};
}  // namespace
}  // namespace sdapi_models

std::span<const Route> sdapi_model_routes() { return sdapi_models::kRoutes; }

std::vector<LibraryCard> all_cards(App& app, ModelKind kind) {
  std::vector<LibraryCard> cards;
  LibraryQuery query;
  query.kind = kind;
  query.limit = kMostCards;
  for (;;) {
    LibraryPage page = app.library.list(query);
    for (LibraryCard& card : page.items) cards.push_back(std::move(card));
    query.offset += kMostCards;
    if (query.offset >= page.total) return cards;
  }
}

std::string path_in_folder(const LibraryCard& card) { return card.folder.empty() ? card.file_name : card.folder + "/" + card.file_name; }

std::string checkpoint_title(const LibraryCard& card) {
  return path_in_folder(card) + (card.sha256.empty() ? "" : " [" + card.sha256.substr(0, 10) + "]");
}

}  // namespace lorikeet
