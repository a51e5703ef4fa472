//! `holdfast files`: its verbs and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_api::WriteConcern;

use super::{Printed, Reach};

/// `holdfast files`.
#[derive(Debug, Subcommand)]
pub enum Files {
    /// Upload a file
    Put(FilesPut),
    /// Download a file; goes on at another member when one breaks off
    Get(FilesGet),
    /// List files, the newest first
    List(FilesList),
    /// Delete a file, everywhere
    Rm(FilesRm),
    /// Show which copies are missing, and what becomes of them
    Queue(FilesQueue),
}

/// `holdfast files put`.
#[derive(Debug, Args)]
pub struct FilesPut {
    /// The file; - is standard input
    pub file: PathBuf,
    /// What it is to be called [default: the file's own name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// On how many members it is to be [default: all]
    #[arg(long, value_name = "N")]
    pub replicas: Option<u8>,
    /// How many members must have it before it is acknowledged: a number, majority or all [default: the store's]
    #[arg(short = 'w', long = "concern", value_name = "W")]
    pub concern: Option<WriteConcern>,
    /// Only if there is no such file
    #[arg(long)]
    pub if_absent: bool,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files get`.
#[derive(Debug, Args)]
pub struct FilesGet {
    /// What it is called
    pub name: String,
    /// Where to write it; - is standard output [default: the last part of its name, in this folder]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
}

/// `holdfast files list`.
#[derive(Debug, Args)]
pub struct FilesList {
    /// Most files to print
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files rm`.
#[derive(Debug, Args)]
pub struct FilesRm {
    /// What it is called
    pub name: String,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}

/// `holdfast files queue`.
#[derive(Debug, Args)]
pub struct FilesQueue {
    /// Only copies in this state: PENDING, IN_PROGRESS, COMPLETED or FAILED
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// The store
    #[command(flatten)]
    pub reach: Reach,
    /// How to print
    #[command(flatten)]
    pub printed: Printed,
}
