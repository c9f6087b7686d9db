// What test programs precompile: Catch2 and what the product precompiles.
#pragma once

#include <catch2/catch.hpp>

#include "tests/support/precompiled.hpp"
