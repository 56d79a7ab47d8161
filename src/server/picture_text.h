// What handlers share about pictures' texts and files.
#pragma once
#include <filesystem>
#include <string>

#include "generate/infotext.h"
#include "server/http.h"

namespace lorikeet {

class App;

// An infotext as a request that can be sent again, its LoRAs and checkpoint by their names here:
// {"infotext", "request": {…}|null, "checkpoint": name|null, "unused": [for people]}.
nlohmann::json settings_in_text(App& app, const std::string& infotext);

// The Infotext itself, LoRAs renamed to those of the same hash here.
Infotext read_infotext(App& app, const std::string& infotext);

// A whole file with its media type and ETag.
HttpResponse file_response(const HttpRequest& request, const std::filesystem::path& path);

}  // namespace lorikeet
