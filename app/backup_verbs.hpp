// keywheel backup, restore: all data of the store as one sealed file, and back. They work on the
// store itself, whether a server runs or not.
#pragma once

#include <memory>

#include "config/loader.hpp"

namespace CLI {
class App;
}

namespace kw::app {

// Adds the verbs; run() after the command line was parsed. -1: none of them was asked for.
class backup_verbs {
  public:
    backup_verbs(CLI::App& cli, const config::environment& env);
    ~backup_verbs();
    backup_verbs(const backup_verbs&) = delete;
    backup_verbs& operator=(const backup_verbs&) = delete;

    [[nodiscard]] int run();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::app
