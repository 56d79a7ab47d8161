// Bytes as base64 text (RFC 4648, section 4), and pictures as "data:image/png;base64,…" (RFC 2397): how JSON carries a picture.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/picture.h"

namespace lorikeet {

std::string to_base64(std::span<const uint8_t> bytes);
std::vector<uint8_t> from_base64(std::string_view text);  // white space is passed over; Error{bad_input}

bool is_data_uri(std::string_view text);
std::string to_data_uri(const Picture& picture);         // as PNG
PictureFile picture_from_base64(std::string_view text);  // a data URI, or the bare base64 of a file; Error{bad_input}

}  // namespace lorikeet
