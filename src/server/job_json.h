// Jobs as the API tells them, and the page's files.
#pragma once
#include <optional>

#include "server/http.h"
#include "server/jobs.h"
#include "server/live.h"

namespace lorikeet {

// Job of the contract. brief: without the request. Texts of many kilobytes in a request (pictures) are told by their length.
nlohmann::json json_of_job(const Job& job, const std::optional<LiveJob>& live, int64_t position, bool brief);

// The page, from the program itself: "/" and its assets; paths that are no file are the page too (it finds its own way). 404 where this
// program was built without one.
HttpResponse page_response(const HttpRequest& request);

}  // namespace lorikeet
