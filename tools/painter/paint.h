// From a scene and a style to a picture.
#pragma once
#include "painter/scene.h"
#include "painter/style.h"

namespace lorikeet::painter {

// A square RGB picture. side_px: 32..2048; styles of blocks need a multiple of 32. Error{bad_input} otherwise.
Picture paint(const Scene& scene, const Style& style, int side_px);

}  // namespace lorikeet::painter
