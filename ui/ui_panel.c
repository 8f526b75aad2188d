/* Owns the door between the screen and its profiler panel: keys and commands go in, what app hands over is
 * cleaned, and app is told whose profile is looked at. */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/view.h"

static void say_what_is_known(struct ui *ui)
{
    const struct prof *prof = ui->panel.prof;
    char last[32] = "", words[128];
    if (prof)
        snprintf(last, sizeof last, ", 0 to %u", prof->shape.n_layers - 1);
    snprintf(words, sizeof words,
             "say /profile prefill, decode, ops, layers, experts, all, or the number of a layer%s", last);
    ui_notice(ui, true, words);
}

/* "/profile" alone opens and closes; with words it opens and shows that. */
static void open_or_close(struct ui *ui, const char *argument, size_t n)
{
    struct panel *p = &ui->panel;
    if (n == 0) {
        p->open = !p->open;
        return;
    }
    p->open = true;
    if (!panel_command(p, argument, n))
        say_what_is_known(ui);
}

/* F3 shows the next view, and opens the panel at first. */
static void show_view(struct ui *ui)
{
    if (ui->panel.open)
        panel_next_view(&ui->panel);
    ui->panel.open = true;
}

static void hold(struct ui *ui)
{
    if (!panel_hold(&ui->panel))
        ui_notice(ui, false, "there is no profile to hold yet");
}

/* Actions of an open panel; without one the keys mean nothing. */
static void act(struct ui *ui, enum ui_action action, const char *argument)
{
    if (action == ACTION_PROFILE_PHASE)
        panel_next_phase(&ui->panel);
    else if (action == ACTION_PROFILE_PIN)
        hold(ui);
    else if (action == ACTION_PROFILE_SIZE)
        panel_resize(&ui->panel, ui->panel_form, argument[0] == 's' ? -1 : 1);
    else if (action == ACTION_PROFILE_LAYER)
        panel_step_layer(&ui->panel, argument[0] == 'u' ? -1 : 1);
}

bool ui_panel_action(struct ui *ui, enum ui_action action, const char *argument, size_t n)
{
    switch (action) {
    case ACTION_PROFILE:
        open_or_close(ui, argument, n);
        return true;
    case ACTION_EXPERTS:
        ui->panel.open = true;
        ui->panel.view = PANEL_EXPERTS;
        return true;
    case ACTION_PROFILE_VIEW:
        show_view(ui);
        return true;
    case ACTION_PROFILE_PHASE:
    case ACTION_PROFILE_PIN:
    case ACTION_PROFILE_SIZE:
    case ACTION_PROFILE_LAYER:
        if (ui->panel.open)
            act(ui, action, argument);
        return true;
    default:
        return false;
    }
}

void ui_panel_watch(struct ui *ui)
{
    int selected = transcript_selected(ui->transcript);
    int of = !ui->panel.open ? PANEL_OF_NOTHING : selected >= 0 ? selected : PANEL_OF_LIVE;
    if (of == ui->panel_of)
        return;
    ui->panel_of = of;
    if (of == PANEL_OF_NOTHING)
        return;
    ui_push_event(ui, UI_PROFILE_OF, ACTION_NONE, 0, NULL, 0);
    ui->events[ui->n_events - 1].event.msg = of;
}

void ui_panel_forget(struct ui *ui)
{
    panel_set(&ui->panel, NULL, ui->panel.read_gb_s, "");
    ui->panel_of = PANEL_OF_NOTHING;
    ui_panel_watch(ui);
}

bool ui_shows_profile_of(const struct ui *ui, int msg)
{
    return ui->panel.open && (ui->panel_of == PANEL_OF_LIVE || ui->panel_of == msg);
}

void ui_set_profile(struct ui *ui, const struct ui_profile *profile)
{
    char *title = sanitize_line(profile->title);
    panel_set(&ui->panel, profile->prof, profile->read_gb_s, title);
    mem_free(title);
    if (ui->panel.open)
        ui_mark_dirty(ui);
}
