//! More members and fewer, as the manifest says: settings first and processes next for more; for fewer settings first, and processes
//! when the members themselves say that nobody votes any more who is to go.
//!
//! Refuses to delete what a removed member kept: its folder is set aside.

use holdfast_api::{Removal, Settings, removal};
use holdfast_laptop::event::Event;
use holdfast_laptop::folder::replace;
use holdfast_laptop::member_name::member_name;
use holdfast_laptop::ports::Ports;
use holdfast_laptop::supervisor::{Order, Phase};

use super::Runner;
use crate::exit::chain;

impl Runner {
    /// Have the members follow `settings`, if that can be. Newcomers start with [`Runner::start_newcomers`].
    pub(super) fn take(&mut self, settings: Settings) -> Result<(), String> {
        let folder = &self.setup.folder;
        let (before, members) = (self.members.len() as u8, settings.peers.len() as u8);
        let ports = Ports::new(self.setup.ports.base(), members).map_err(|error| chain(&error))?;
        ports.check_free_from(before).map_err(|error| chain(&error))?;
        for ordinal in before..members {
            folder.make_member(ordinal).map_err(|error| {
                let path = folder.member_data(ordinal);
                format!("the folder {} cannot be made: {error}", path.display())
            })?;
        }
        replace(&folder.settings(), settings.to_yaml().as_bytes())
            .map_err(|error| format!("the settings cannot be written: {error}"))?;
        self.setup.ports = ports;
        self.setup.settings = settings;
        Ok(())
    }

    /// Start the members that the settings have and that do not run yet.
    pub(super) fn start_newcomers(&mut self) {
        let members = self.setup.settings.peers.len();
        if self.members.len() >= members {
            return;
        }
        for ordinal in self.members.len()..members {
            if let Err(error) = self.add(ordinal as u8) {
                let text = format!("member {ordinal} cannot be started: {}", chain(&error));
                return self.note(text);
            }
        }
        self.register();
    }

    /// With every look at the members: if some are to go, see whether the store has removed them, and end them then.
    pub(super) fn remove_leavers(&mut self) {
        let replicas = self.setup.settings.replicas;
        if self.members.len() <= usize::from(replicas) {
            return;
        }
        let statuses: Vec<_> =
            self.members.iter().filter_map(|shown| shown.status.borrow().clone()).collect();
        let removal = removal(replicas, statuses.iter());
        if self.removal.as_ref() == Some(&Removal::Done) {
            // Said once by those who stay; whoever went cannot be asked any more.
            if self.leavers_are_down() {
                self.forget_leavers();
            }
            return;
        }
        if removal == Removal::Done {
            for shown in &self.members[usize::from(replicas)..] {
                for orders in shown.orders() {
                    // A supervisor that is gone needs no order.
                    tokio::spawn(async move { orders.send(Order::Stop).await });
                }
            }
        } else if self.removal.as_ref() != Some(&removal) {
            self.note(removal.to_string());
        }
        self.removal = Some(removal);
    }

    fn leavers_are_down(&self) -> bool {
        let leavers = &self.members[usize::from(self.setup.settings.replicas)..];
        leavers.iter().all(|shown| shown.member.report().phase == Phase::Stopped)
    }

    /// Nothing of those who were removed runs any more.
    fn forget_leavers(&mut self) {
        self.removal = None;
        let (replicas, store) = (self.setup.settings.replicas, self.setup.store.store_name().name);
        for ordinal in replicas..self.members.len() as u8 {
            let name = member_name(&store, ordinal);
            let text = match self.setup.folder.set_aside(ordinal) {
                Ok(Some(path)) => format!("{name} is removed; what it kept is in {}", path.display()),
                Ok(None) => format!("{name} is removed"),
                Err(error) => format!(
                    "{name} is removed, but its folder cannot be set aside ({error}); rename it before there is to be such a \
                     member again"
                ),
            };
            self.note(text);
        }
        self.members.truncate(replicas.into());
        let mut settings = self.setup.settings.clone();
        settings.peers.truncate(replicas.into());
        if let Err(reason) = self.take(settings) {
            self.reporter.event(&Event::EditRefused { reasons: vec![reason] });
        }
        self.register();
    }

    /// Say to other terminals how many members there are now.
    fn register(&mut self) {
        self.registration.replicas = self.members.len() as u8;
        let registered = self.setup.folder.register(&self.registration).map_err(|error| error.to_string());
        let added = self.registry.add(&self.registration).map_err(|error| chain(&error));
        if let Err(error) = registered.and(added) {
            self.note(format!("other terminals do not see the new number of members: {error}"));
        }
    }
}
